//go:build !linux

package service

import "errors"

// CloseOnExecAll needs close_range(2) or /proc: elsewhere nothing is marked.
func CloseOnExecAll() error { return errors.ErrUnsupported }

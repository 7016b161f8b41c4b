//go:build !linux

package smtpd

import "errors"

// loadAverage is not known: the option load refuses nobody.
func loadAverage() (float64, error) { return 0, errors.ErrUnsupported }

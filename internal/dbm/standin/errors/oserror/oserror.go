// Package oserror has the questions about a file that Pebble asks of an error.
package oserror

import (
	"errors"
	"io/fs"
)

// The errors that the standard library has for these.
var (
	ErrInvalid    = fs.ErrInvalid
	ErrPermission = fs.ErrPermission
	ErrExist      = fs.ErrExist
	ErrNotExist   = fs.ErrNotExist
)

// IsPermission reports whether err says that something isn't allowed.
func IsPermission(err error) bool { return errors.Is(err, fs.ErrPermission) }

// IsExist reports whether err says that a file exists already.
func IsExist(err error) bool { return errors.Is(err, fs.ErrExist) }

// IsNotExist reports whether err says that a file doesn't exist.
func IsNotExist(err error) bool { return errors.Is(err, fs.ErrNotExist) }

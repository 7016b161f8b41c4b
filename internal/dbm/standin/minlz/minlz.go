// Package minlz stands in for github.com/minio/minlz, which Pebble names and which
// postoffice's tables don't use: they are packed by snappy. Each function fails.
package minlz

import "errors"

// ErrAbsent is the error of each function.
var ErrAbsent = errors.New("there is no minlz in this program")

const (
	MaxBlockSize  = 8 << 20 // octets of a block
	LevelFastest  = 1
	LevelBalanced = 2
)

// Encode fails.
func Encode(_, _ []byte, _ int) ([]byte, error) { return nil, ErrAbsent }

// Decode fails.
func Decode(_, _ []byte) ([]byte, error) { return nil, ErrAbsent }

// DecodedLen fails.
func DecodedLen([]byte) (int, error) { return 0, ErrAbsent }

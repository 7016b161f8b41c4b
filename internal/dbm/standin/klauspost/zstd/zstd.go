// Package zstd stands in for github.com/klauspost/compress/zstd, which Pebble names and
// which postoffice's tables don't use: they are packed by snappy. Each function fails.
package zstd

import "errors"

// ErrAbsent is the error of each function.
var ErrAbsent = errors.New("there is no zstd in this program")

// Encoder packs nothing.
type Encoder struct{}

// Decoder unpacks nothing.
type Decoder struct{}

// EncoderLevel is how much work an encoder does.
type EncoderLevel int

// EOption is an option of an encoder.
type EOption func()

// DOption is an option of a decoder.
type DOption func()

// EncoderLevelFromZstd is the level of a number.
func EncoderLevelFromZstd(level int) EncoderLevel { return EncoderLevel(level) }

// WithEncoderLevel is an option that does nothing.
func WithEncoderLevel(EncoderLevel) EOption { return func() {} }

// NewWriter fails.
func NewWriter(any, ...EOption) (*Encoder, error) { return nil, ErrAbsent }

// NewReader returns a decoder, each call of which fails.
func NewReader(any, ...DOption) (*Decoder, error) { return new(Decoder), nil }

// EncodeAll can't be reached: there is no encoder.
func (*Encoder) EncodeAll([]byte, []byte) []byte { panic(ErrAbsent) }

// Close does nothing.
func (*Encoder) Close() error { return nil }

// DecodeAll fails.
func (*Decoder) DecodeAll([]byte, []byte) ([]byte, error) { return nil, ErrAbsent }

// Close does nothing.
func (*Decoder) Close() {}

// Package zstd stands in for github.com/DataDog/zstd, which Pebble names in builds with C,
// as those of the race detector are: 100,000 lines of C that postoffice's tables don't use.
// Each function fails.
package zstd

import "errors"

// ErrAbsent is the error of each function.
var ErrAbsent = errors.New("there is no zstd in this program")

// Ctx packs and unpacks nothing.
type Ctx interface {
	CompressLevel(dst, src []byte, level int) ([]byte, error)
	DecompressInto(dst, src []byte) (int, error)
}

type ctx struct{}

// NewCtx returns one, each call of which fails.
func NewCtx() Ctx { return ctx{} }

func (ctx) CompressLevel([]byte, []byte, int) ([]byte, error) { return nil, ErrAbsent }

func (ctx) DecompressInto([]byte, []byte) (int, error) { return 0, ErrAbsent }

// CompressBound is how much room src may need that can't be packed.
func CompressBound(src int) int { return src }

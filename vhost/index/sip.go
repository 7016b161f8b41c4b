package index

import (
	"crypto/hmac"
	"crypto/sha256"
	"encoding/binary"
	"math/bits"
)

// A Key makes hashes that nobody can foretell without it, by SipHash-2-4 (Aumasson and
// Bernstein, 2012): of names, so that nobody can choose some that hash alike, and of pages,
// so that nobody else can make one.
type Key struct{ a, b uint64 }

// NewKey makes one of a secret, another one for each use.
func NewKey(secret []byte, use string) Key {
	h := hmac.New(sha256.New, secret)
	h.Write([]byte(use))
	sum := h.Sum(nil)
	return Key{binary.LittleEndian.Uint64(sum), binary.LittleEndian.Uint64(sum[8:])}
}

// below makes a key of this one.
func (k Key) below(salt []byte) Key {
	return Key{k.Sum(append([]byte{0}, salt...)), k.Sum(append([]byte{1}, salt...))}
}

// Sum is the hash of p.
func (k Key) Sum(p []byte) uint64 {
	v0, v1 := k.a^0x736f6d6570736575, k.b^0x646f72616e646f6d
	v2, v3 := k.a^0x6c7967656e657261, k.b^0x7465646279746573
	last := uint64(len(p)) << 56
	for ; len(p) >= 8; p = p[8:] {
		m := binary.LittleEndian.Uint64(p)
		v3 ^= m
		v0, v1, v2, v3 = round(v0, v1, v2, v3)
		v0, v1, v2, v3 = round(v0, v1, v2, v3)
		v0 ^= m
	}
	for i, c := range p {
		last |= uint64(c) << (8 * i)
	}
	v3 ^= last
	v0, v1, v2, v3 = round(v0, v1, v2, v3)
	v0, v1, v2, v3 = round(v0, v1, v2, v3)
	v0 ^= last
	v2 ^= 0xff
	for range 4 {
		v0, v1, v2, v3 = round(v0, v1, v2, v3)
	}
	return v0 ^ v1 ^ v2 ^ v3
}

func round(v0, v1, v2, v3 uint64) (uint64, uint64, uint64, uint64) {
	v0 += v1
	v1 = bits.RotateLeft64(v1, 13) ^ v0
	v0 = bits.RotateLeft64(v0, 32)
	v2 += v3
	v3 = bits.RotateLeft64(v3, 16) ^ v2
	v0 += v3
	v3 = bits.RotateLeft64(v3, 21) ^ v0
	v2 += v1
	v1 = bits.RotateLeft64(v1, 17) ^ v2
	v2 = bits.RotateLeft64(v2, 32)
	return v0, v1, v2, v3
}

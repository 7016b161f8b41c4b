package signer

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
)

// Sizes, in octets.
const (
	questionSize = 4 + 2 + 1 + 1 + maxContent // number, key, scheme, length, content
	answerSize   = 4 + 2 + maxSignature       // number, length, signature

	maxContent   = 255     // what is signed: a digest, or the message itself for Ed25519
	maxSignature = 512     // that of an RSA key with 4096 bits
	maxKeys      = 256     // that a signer has
	maxKeySize   = 8 << 10 // of a key in PKCS #8
)

// scheme is how a key signs.
type scheme byte

const (
	pkcs1SHA256 scheme = 1 + iota // RSA, RFC 8017 section 8.2
	pkcs1SHA384
	pkcs1SHA512
	pssSHA256 // RSA, RFC 8017 section 8.1
	pssSHA384
	pssSHA512
	ecdsaSHA256
	ecdsaSHA384
	ecdsaSHA512
	ed25519Message // RFC 8032: it takes what is signed as it is
)

// question asks for a signature.
type question struct {
	number  uint32 // the answer has it too
	key     uint16
	scheme  scheme
	content []byte
}

// answer is one. It has no signature where there is none to be had.
type answer struct {
	number    uint32
	signature []byte
}

var errForm = errors.New("not of a form that is sent")

// append encodes q behind b. Content beyond maxContent has no form.
func (q question) append(b []byte) []byte {
	b = binary.BigEndian.AppendUint32(b, q.number)
	b = binary.BigEndian.AppendUint16(b, q.key)
	b = append(b, byte(q.scheme), byte(len(q.content)))
	b = append(b, q.content...)
	return append(b, make([]byte, maxContent-len(q.content))...)
}

// decodeQuestion reads a question, all of b. Its content is part of b.
func decodeQuestion(b []byte) (question, error) {
	if len(b) != questionSize {
		return question{}, fmt.Errorf("question of %d octets: %w", len(b), errForm)
	}
	q := question{number: binary.BigEndian.Uint32(b), key: binary.BigEndian.Uint16(b[4:]), scheme: scheme(b[6])}
	n := int(b[7])
	q.content = b[8 : 8+n]
	size, ok := q.scheme.size()
	switch {
	case !ok:
		return question{}, fmt.Errorf("scheme %d: %w", q.scheme, errForm)
	case size != 0 && n != size:
		return question{}, fmt.Errorf("digest of %d octets, want %d: %w", n, size, errForm)
	case !zero(b[8+n:]):
		return question{}, fmt.Errorf("octets behind the content: %w", errForm)
	}
	return q, nil
}

// append encodes a behind b.
func (a answer) append(b []byte) []byte {
	b = binary.BigEndian.AppendUint32(b, a.number)
	b = binary.BigEndian.AppendUint16(b, uint16(len(a.signature)))
	b = append(b, a.signature...)
	return append(b, make([]byte, maxSignature-len(a.signature))...)
}

// decodeAnswer reads an answer, all of b, and its number.
func decodeAnswer(b []byte) (uint32, answer, error) {
	if len(b) != answerSize {
		return 0, answer{}, fmt.Errorf("answer of %d octets: %w", len(b), errForm)
	}
	n := int(binary.BigEndian.Uint16(b[4:]))
	if n > maxSignature || !zero(b[6+n:]) {
		return 0, answer{}, fmt.Errorf("signature of %d octets: %w", n, errForm)
	}
	a := answer{binary.BigEndian.Uint32(b), bytes.Clone(b[6 : 6+n])}
	return a.number, a, nil
}

func zero(b []byte) bool {
	for _, c := range b {
		if c != 0 {
			return false
		}
	}
	return true
}

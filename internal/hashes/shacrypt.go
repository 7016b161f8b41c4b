package hashes

import (
	"bytes"
	"crypto/sha256"
	"crypto/sha512"
	"crypto/subtle"
	"strconv"
	"strings"
)

// SHA-crypt, as Drepper's "Unix crypt using SHA-256 and SHA-512" (version 0.6) has it. A
// round is one sum of less than two blocks, so that what stands around the blocks counts:
// each round's text is in one buffer, and nothing is allocated.
const (
	sha256Prefix = "$5$"
	sha512Prefix = "$6$"
	roundsWord   = "rounds="

	shaRounds    = 5000 // where a hash names none
	minSHARounds = 1000 // of a hash that names fewer
	maxSHASalt   = 16   // octets of salt, as the specification has it
)

// The orders in which octets of a sum are written, three in four letters.
var (
	sha256Order = [...]byte{0, 10, 20, 21, 1, 11, 12, 22, 2, 3, 13, 23, 24, 4, 14, 15, 25, 5, 6, 16, 26, 27, 7, 17, 18, 28, 8, 9, 19, 29, 31, 30}
	sha512Order = [...]byte{0, 21, 42, 22, 43, 1, 44, 2, 23, 3, 24, 45, 25, 46, 4, 47, 5, 26, 6, 27, 48, 28, 49, 7, 50, 8, 29, 9, 30, 51, 31, 52, 10,
		53, 11, 32, 12, 33, 54, 34, 55, 13, 56, 14, 35, 15, 36, 57, 37, 58, 16, 59, 17, 38, 18, 39, 60, 40, 61, 19, 62, 20, 41, 63}
)

// parseSHACrypt reads $5$SALT$HASH and $6$SALT$HASH, of which cost has seen the rounds.
func parseSHACrypt(value string, memory int64) (Hash, error) {
	prefix, rest := value[:len(sha512Prefix)], value[len(sha512Prefix):]
	rounds := shaRounds
	if text, ok := strings.CutPrefix(rest, roundsWord); ok {
		var n string
		n, rest, _ = strings.Cut(text, "$")
		r, err := strconv.Atoi(n)
		if err != nil {
			return Hash{}, ErrForm
		}
		rounds = max(r, minSHARounds)
	}
	salt, sum, ok := strings.Cut(rest, "$")
	letters := (len(sha512Order)*8 + 5) / 6
	if prefix == sha256Prefix {
		letters = (len(sha256Order)*8 + 5) / 6
	}
	if !ok || len(salt) > maxSHASalt || len(sum) != letters {
		return Hash{}, ErrForm
	}
	return Hash{memory: memory, match: func(password string) bool {
		return subtle.ConstantTimeCompare([]byte(shaCrypt(prefix, password, salt, rounds)), []byte(sum)) == 1
	}}, nil
}

// shaCrypt is the hash without prefix, rounds and salt.
func shaCrypt(prefix, password, salt string, rounds int) string {
	if prefix == sha256Prefix {
		return string(lettersOf(shaSum(sha256.Sum256, password, salt, rounds), sha256Order[:]))
	}
	return string(lettersOf(shaSum(sha512.Sum512, password, salt, rounds), sha512Order[:]))
}

// shaSum is the last round's sum. Its steps have the numbers of the specification.
func shaSum[Sum [32]byte | [64]byte](sum func([]byte) Sum, password, salt string, rounds int) []byte {
	var first Sum
	b := sum([]byte(password + salt + password))                        // 4 to 8
	text := append([]byte(password+salt), stretch(b, len(password))...) // 1 to 3, 9, 10
	for n := len(password); n > 0; n >>= 1 {                            // 11
		if n&1 == 1 {
			text = append(text, octets(&b)...)
		} else {
			text = append(text, password...)
		}
	}
	first = sum(text)                                                                            // 12
	p := stretch(sum(bytes.Repeat([]byte(password), len(password))), len(password))              // 13 to 16
	s := stretch(sum(bytes.Repeat([]byte(salt), 16+int(octets(&first)[0]))), min(len(salt), 16)) // 17 to 20
	for i := range rounds {                                                                      // 21
		text = text[:0]
		if i&1 == 1 {
			text = append(text, p...)
		} else {
			text = append(text, octets(&first)...)
		}
		if i%3 != 0 {
			text = append(text, s...)
		}
		if i%7 != 0 {
			text = append(text, p...)
		}
		if i&1 == 1 {
			text = append(text, octets(&first)...)
		} else {
			text = append(text, p...)
		}
		first = sum(text)
	}
	return bytes.Clone(octets(&first))
}

// octets are those of a sum.
func octets[Sum [32]byte | [64]byte](s *Sum) []byte {
	switch s := any(s).(type) {
	case *[32]byte:
		return s[:]
	case *[64]byte:
		return s[:]
	}
	return nil
}

// stretch repeats a sum to n octets.
func stretch[Sum [32]byte | [64]byte](s Sum, n int) []byte {
	all := octets(&s)
	return bytes.Repeat(all, n/len(all)+1)[:n]
}

// lettersOf writes the octets of a sum in an order.
func lettersOf(sum []byte, order []byte) (text []byte) {
	for len(order) > 0 {
		n := min(len(order), 3)
		v := uint32(0)
		for _, i := range order[:n] {
			v = v<<8 | uint32(sum[i])
		}
		for range n + 1 { // as many letters of six bits as it takes
			text = append(text, cryptLetters[v&0x3f])
			v >>= 6
		}
		order = order[n:]
	}
	return text
}

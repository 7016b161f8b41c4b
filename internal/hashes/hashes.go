package hashes

import (
	"crypto/subtle"
	"errors"
	"strings"

	"github.com/go-crypt/crypt/algorithm"
)

// What may be wrong with a hash.
var (
	// ErrClosed is a hash that no password has: an account that nobody can log in to.
	ErrClosed = errors.New("the account is closed for passwords")
	// ErrForm is a text that is no hash of a form known here.
	ErrForm = errors.New("no hash of a form that is known here: set the password anew")
	// ErrCost is a hash that would take more time or memory than one password is worth.
	ErrCost = errors.New("the hash takes more time or memory than is given to one: set the password anew")
)

// maxText is how many octets a hash may have.
const maxText = 1 << 10

// A Hash is one that was read.
type Hash struct {
	match  func(password string) bool
	memory int64
}

// Memory is how many octets Match takes while it runs.
func (h Hash) Memory() int64 { return h.memory }

// Match reports whether a password is the one that was hashed. It may take a second.
func (h Hash) Match(password string) bool { return h.match(password) }

// Parse reads a hash. A scheme in braces may stand before it, as Dovecot has it; the
// errors are ErrClosed, ErrForm and ErrCost.
func Parse(text string) (Hash, error) {
	if len(text) > maxText {
		return Hash{}, ErrForm
	}
	scheme, value := "", text
	if s, v, ok := strings.Cut(text, "}"); ok && strings.HasPrefix(s, "{") {
		scheme, value = strings.ToUpper(s[1:]), v
	}
	switch scheme {
	case "", "CRYPT", "SHA512-CRYPT", "SHA256-CRYPT", "MD5-CRYPT", "BLF-CRYPT", "ARGON2ID", "ARGON2I":
		return parseCrypt(value)
	case "PLAIN", "CLEARTEXT", "CLEAR":
		return plain(value)
	}
	return parseDigest(scheme, value)
}

// plain is a password that stands there itself.
func plain(value string) (Hash, error) {
	if value == "" {
		return Hash{}, ErrClosed
	}
	return Hash{match: func(p string) bool { return subtle.ConstantTimeCompare([]byte(p), []byte(value)) == 1 }}, nil
}

// form is one of crypt(3)'s.
type form struct {
	prefix string
	decode func(string) (algorithm.Digest, error)
}

// parseCrypt reads what crypt(3) makes.
func parseCrypt(value string) (Hash, error) {
	if value == "" || value[0] == '!' || value[0] == '*' || value[0] == 'x' && len(value) == 1 {
		return Hash{}, ErrClosed
	}
	if strings.HasPrefix(value, sha256Prefix) || strings.HasPrefix(value, sha512Prefix) {
		memory, err := cost(value)
		if err != nil {
			return Hash{}, err
		}
		return parseSHACrypt(value, memory)
	}
	for _, f := range forms() {
		if !strings.HasPrefix(value, f.prefix) {
			continue
		}
		memory, err := cost(value)
		if err != nil {
			return Hash{}, err
		}
		d, err := decoded(f.decode, value)
		if err != nil {
			return Hash{}, err
		}
		return Hash{match: func(p string) bool { return matches(d, p) }, memory: memory}, nil
	}
	if strings.HasPrefix(value, apr1Prefix) {
		return parseAPR1(value)
	}
	return Hash{}, ErrForm
}

// decoded calls a decoder, which may give up on what nobody wrote on purpose.
func decoded(decode func(string) (algorithm.Digest, error), value string) (d algorithm.Digest, err error) {
	defer func() {
		if recover() != nil {
			err = ErrForm
		}
	}()
	if d, err = decode(value); err != nil {
		err = ErrForm // the decoder's words may quote the hash
	}
	return d, err
}

func matches(d algorithm.Digest, password string) (ok bool) {
	defer func() {
		if recover() != nil {
			ok = false
		}
	}()
	return d.Match(password)
}

//go:build !lite

package hashes

import (
	"fmt"

	"github.com/go-crypt/crypt/algorithm/argon2"
	"github.com/go-crypt/crypt/algorithm/bcrypt"
	"github.com/go-crypt/crypt/algorithm/md5crypt"
	"github.com/go-crypt/crypt/algorithm/scrypt"
	"github.com/go-crypt/x/yescrypt"
)

// forms are those of crypt(3) that are read.
func forms() []form {
	return []form{
		{"$argon2id$", argon2.Decode}, {"$argon2i$", argon2.Decode},
		{"$2a$", bcrypt.Decode}, {"$2b$", bcrypt.Decode}, {"$2y$", bcrypt.Decode},
		{"$y$", scrypt.Decode}, {"$1$", md5crypt.Decode},
	}
}

// yescryptSetting reads the parameters of yescrypt: the logarithm of its blocks, and
// their size in 128 octets.
func yescryptSetting(text string) (ln, r int, err error) {
	_, ln, r, err = yescrypt.DecodeSetting([]byte(text))
	return ln, r, err
}

// What a new hash costs: RFC 9106's second choice with less memory, as OWASP has it.
const (
	newMemory = 19 << 10 // KiB
	newTime   = 2
)

// New makes the hash of a password, with its scheme as Dovecot has it.
func New(password string) (string, error) {
	h, err := argon2.New(argon2.WithVariantID(), argon2.WithM(newMemory), argon2.WithT(newTime), argon2.WithP(1))
	if err != nil {
		return "", fmt.Errorf("hash a password: %w", err)
	}
	d, err := h.Hash(password)
	if err != nil {
		return "", fmt.Errorf("hash a password: %w", err)
	}
	return "{ARGON2ID}" + d.Encode(), nil
}

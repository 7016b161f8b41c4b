//go:build lite

package hashes

import (
	"crypto/rand"
	"strconv"

	"github.com/go-crypt/crypt/algorithm/md5crypt"
)

// forms are those of crypt(3) that are read: what takes much memory is not for small
// devices.
func forms() []form {
	return []form{{"$1$", md5crypt.Decode}}
}

func yescryptSetting(string) (ln, r int, err error) { return 0, 0, ErrForm }

// newRounds is what a new hash costs, twenty times crypt's own choice.
const newRounds = 100_000

// New makes the hash of a password, with its scheme as Dovecot has it.
func New(password string) (string, error) {
	salt := rand.Text()[:maxSHASalt]
	return "{SHA512-CRYPT}" + sha512Prefix + roundsWord + strconv.Itoa(newRounds) + "$" + salt + "$" + shaCrypt(sha512Prefix, password, salt, newRounds), nil
}

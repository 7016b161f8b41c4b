package sasl

import (
	"crypto/hmac"
	"crypto/rand"
	"crypto/sha256"
	"encoding/base64"
	"errors"
	"fmt"
	"strconv"
	"strings"
)

const (
	newRounds   = 10_000 // of a new verifier: a guess costs as much, and so does a login, at the client
	newSaltSize = 16     // octets
)

// A Verifier is what is kept of a password for SCRAM-SHA-256: who has it can check a
// login, and not make one.
type Verifier struct {
	Rounds         int
	Salt           []byte
	Stored, Server []byte // SHA-256 of the client's key, and the server's key
}

// ErrVerifier is a text that is no verifier.
var ErrVerifier = errors.New("no verifier of SCRAM-SHA-256: set the password anew")

// NewVerifier makes the verifier of a password.
func NewVerifier(password string) (Verifier, error) {
	v := Verifier{Rounds: newRounds, Salt: make([]byte, newSaltSize)}
	rand.Read(v.Salt) // never fails
	k, err := makeKeys(sha256.New, password, v.Salt, v.Rounds)
	if err != nil {
		return Verifier{}, fmt.Errorf("make a verifier: %w", err)
	}
	v.Stored, v.Server = k.stored, k.server
	return v, nil
}

// Nobodys is a verifier for a name that there isn't, the same each time and no
// password's: who asks can't tell it from another one. secret is known to nobody else.
func Nobodys(secret []byte, name string) Verifier {
	of := func(what string) []byte { return keyed(sha256.New, secret, what+"\x00"+name) }
	return Verifier{Rounds: newRounds, Salt: of("salt")[:newSaltSize], Stored: of("stored"), Server: of("server")}
}

// ParseVerifier reads what String makes: "SHA-256,ROUNDS,SALT,STORED,SERVER", the latter
// three in base64.
func ParseVerifier(text string) (v Verifier, err error) {
	f := strings.Split(text, ",")
	if len(f) != 5 || f[0] != "SHA-256" {
		return v, ErrVerifier
	}
	if v.Rounds, err = strconv.Atoi(f[1]); err != nil || v.Rounds < leastRounds || v.Rounds > maxRounds {
		return Verifier{}, ErrVerifier
	}
	for i, to := range []*[]byte{&v.Salt, &v.Stored, &v.Server} {
		if *to, err = base64.StdEncoding.Strict().DecodeString(f[2+i]); err != nil {
			return Verifier{}, ErrVerifier
		}
	}
	if len(v.Salt) == 0 || len(v.Salt) > maxSalt || len(v.Stored) != sha256.Size || len(v.Server) != sha256.Size {
		return Verifier{}, ErrVerifier
	}
	return v, nil
}

// String is the verifier as it stands in a file.
func (v Verifier) String() string {
	b64 := base64.StdEncoding.EncodeToString
	return "SHA-256," + strconv.Itoa(v.Rounds) + "," + b64(v.Salt) + "," + b64(v.Stored) + "," + b64(v.Server)
}

// Match reports whether a password is the one that the verifier was made of.
func (v Verifier) Match(password string) bool {
	k, err := makeKeys(sha256.New, password, v.Salt, v.Rounds)
	return err == nil && hmac.Equal(k.stored, v.Stored)
}

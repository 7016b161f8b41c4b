package sasl

import (
	"crypto/hmac"
	"crypto/rand"
	"crypto/sha256"
	"encoding/base64"
	"errors"
	"strings"
	"unicode/utf8"
)

// maxName is how many octets the name of who logs in may have.
const maxName = 255

// MaxPassword is how many octets a password may have: what some hashes cost grows with it,
// and whoever guesses chooses it.
const MaxPassword = 512

// Errors of a client's side of an exchange.
var (
	// ErrClient: the client broke the rules of the exchange.
	ErrClient = errors.New("the client broke the rules of the login")
	// ErrDowngrade: somebody between the two took the mechanisms with channel binding off
	// the list (RFC 5802 section 6), or the exchange is bound to another session.
	ErrDowngrade = errors.New("the login is bound to another session, or was kept from being bound")
	// ErrProof: the client doesn't know the password.
	ErrProof = errors.New("the client did not prove that it knows the password")
)

// ParsePlain reads PLAIN's one message (RFC 4616). Who wants to be somebody else than who
// logs in is refused.
func ParsePlain(response []byte) (user, password string, err error) {
	f := strings.Split(string(response), "\x00")
	if len(f) != 3 || f[1] == "" || len(f[1]) > maxName || len(f[2]) > MaxPassword || f[0] != "" && f[0] != f[1] || !utf8.ValidString(f[1]) {
		return "", "", ErrClient
	}
	return f[1], f[2], nil
}

// ScramServer is the server's side of SCRAM-SHA-256 and SCRAM-SHA-256-PLUS: First,
// Challenge, Final, in this order.
type ScramServer struct {
	plus     bool
	bindings Bindings

	verifier Verifier
	bound    Binding // of these the one that the client took
	header   string  // the client's words on channel binding, with what it wants to be
	bare     string  // its first message without them
	first    string  // ours
	nonce    string  // of both
}

// NewScramServer begins an exchange. plus: it is to be bound to one of b; else b says, if
// there is one, that the mechanism with binding was offered.
func NewScramServer(plus bool, b Bindings) *ScramServer { return &ScramServer{plus: plus, bindings: b} }

// First reads the client's first message and returns who it wants to be.
func (s *ScramServer) First(message string) (user string, err error) {
	if len(message) > maxMessage || !utf8.ValidString(message) {
		return "", ErrClient
	}
	f := strings.SplitN(message, ",", 3)
	if len(f) != 3 {
		return "", ErrClient
	}
	s.header, s.bare = f[0]+","+f[1]+",", f[2]
	name, isBound := strings.CutPrefix(f[0], "p=")
	var here bool
	s.bound, here = s.bindings.named(name)
	switch {
	case s.plus && !(isBound && here):
		return "", ErrDowngrade
	case s.plus:
	case f[0] == string(unoffered) && len(s.bindings) > 0:
		return "", ErrDowngrade
	case f[0] != string(unoffered) && f[0] != string(unbound):
		return "", ErrClient
	}
	v, err := attributes(s.bare, "nr")
	if err != nil || v[1] == "" || strings.Trim(v[1], printable) != "" {
		return "", ErrClient
	}
	user, ok := fromSaslname(v[0])
	if !ok || user == "" || len(user) > maxName {
		return "", ErrClient
	}
	if wanted, has := strings.CutPrefix(f[1], "a="); f[1] != "" && (!has || wanted != v[0]) {
		return "", ErrClient
	}
	s.nonce = v[1] + rand.Text()
	return user, nil
}

// Challenge returns our first message, for who has this verifier.
func (s *ScramServer) Challenge(v Verifier) string {
	s.verifier = v
	s.first = serverFirst{s.nonce, v.Salt, v.Rounds}.String()
	return s.first
}

// Final reads the client's last message and returns ours, with which we prove that we
// know the verifier.
func (s *ScramServer) Final(message string) (string, error) {
	v, err := attributes(message, "cr")
	if err != nil || v[1] != s.nonce {
		return "", ErrClient
	}
	i := strings.LastIndex(message, ",p=")
	if i < 0 {
		return "", ErrClient
	}
	proof, err := base64.StdEncoding.Strict().DecodeString(message[i+len(",p="):])
	if err != nil || len(proof) != sha256.Size {
		return "", ErrClient
	}
	want := []byte(s.header)
	if s.plus {
		want = append(want, s.bound.Data...)
	}
	if got, err := base64.StdEncoding.Strict().DecodeString(v[0]); err != nil || !hmac.Equal(got, want) {
		return "", ErrDowngrade
	}
	auth := s.bare + "," + s.first + "," + message[:i]
	for j, b := range keyed(sha256.New, s.verifier.Stored, auth) {
		proof[j] ^= b
	}
	if sum := sha256.Sum256(proof); !hmac.Equal(sum[:], s.verifier.Stored) {
		return "", ErrProof
	}
	return "v=" + base64.StdEncoding.EncodeToString(keyed(sha256.New, s.verifier.Server, auth)), nil
}

// fromSaslname reads a name as SCRAM writes it (RFC 5802 section 5.1).
func fromSaslname(s string) (string, bool) {
	var b strings.Builder
	for i := 0; i < len(s); i++ {
		if s[i] != '=' {
			b.WriteByte(s[i])
			continue
		}
		switch {
		case strings.HasPrefix(s[i:], "=2C"):
			b.WriteByte(',')
		case strings.HasPrefix(s[i:], "=3D"):
			b.WriteByte('=')
		default:
			return "", false
		}
		i += 2
	}
	return b.String(), strings.IndexByte(b.String(), 0) < 0
}

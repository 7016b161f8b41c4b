package sasl

import (
	"crypto/hmac"
	"crypto/rand"
	"crypto/sha256"
	"encoding/base64"
	"fmt"
	"hash"
	"strings"
)

// scram is the client's side of SCRAM (RFC 5802).
type scram struct {
	c      Credentials
	hash   func() hash.Hash
	header string // what channel binding there is
	data   []byte // of that
	nonce  string

	step      int
	bare      string // our first message
	signature []byte // that the server has to say
	verified  bool
}

func newScram(c Credentials, f flag) (*scram, error) {
	s := &scram{c: c, hash: sha256.New, header: header(f, c.Binding), nonce: rand.Text()}
	if f == bound {
		s.data = c.Binding.Data
	}
	return s, nil
}

func (s *scram) Next(challenge []byte) ([]byte, error) {
	s.step++
	switch s.step {
	case 1:
		s.bare = "n=" + saslname(s.c.User) + ",r=" + s.nonce
		return []byte(s.header + s.bare), nil
	case 2:
		return s.prove(string(challenge))
	case 3:
		return []byte{}, s.verify(string(challenge))
	}
	return nil, fmt.Errorf("%w: SCRAM has three steps", ErrServer)
}

// prove answers the server's first message.
func (s *scram) prove(message string) ([]byte, error) {
	first, err := parseServerFirst(message)
	switch {
	case err != nil:
		return nil, fmt.Errorf("%w: %w", ErrServer, err)
	case !strings.HasPrefix(first.nonce, s.nonce) || len(first.nonce) == len(s.nonce):
		return nil, fmt.Errorf("%w: its nonce is not ours with one of its own", ErrServer)
	}
	k, err := makeKeys(s.hash, s.c.Secret, first.salt, first.rounds)
	if err != nil {
		return nil, err
	}
	final := "c=" + base64.StdEncoding.EncodeToString(append([]byte(s.header), s.data...)) + ",r=" + first.nonce
	auth := s.bare + "," + message + "," + final
	s.signature = k.signature(s.hash, auth)
	return []byte(final + ",p=" + base64.StdEncoding.EncodeToString(k.proof(s.hash, auth))), nil
}

// verify reads the server's last message.
func (s *scram) verify(message string) error {
	if reason, ok := strings.CutPrefix(message, "e="); ok {
		return fmt.Errorf("%w: it ended with %.80q", ErrServer, reason)
	}
	v, err := attributes(message, "v")
	if err != nil {
		return fmt.Errorf("%w: %w", ErrServer, err)
	}
	said, err := base64.StdEncoding.DecodeString(v[0])
	if err != nil || !hmac.Equal(said, s.signature) {
		return ErrImpostor
	}
	s.verified = true
	return nil
}

func (s *scram) Done() error {
	if !s.verified {
		return ErrImpostor
	}
	return nil
}

package sasl

import (
	"fmt"
	"strconv"
	"strings"
)

// token is OAUTHBEARER (RFC 7628) and XOAUTH2: a token at once, and where that is
// refused a challenge that says why, which has to be answered with nothing before
// the server says no.
type token struct {
	c       Credentials
	bearer  bool
	said    bool
	refused bool
}

func (t *token) Next(challenge []byte) ([]byte, error) {
	switch {
	case !t.said:
		t.said = true
		return t.first(), nil
	case t.refused:
		return nil, fmt.Errorf("%w: it went on after a refusal", ErrServer)
	}
	t.refused = true
	if t.bearer {
		return []byte("\x01"), nil
	}
	return []byte{}, nil
}

func (t *token) first() []byte {
	const auth = "auth=Bearer "
	if !t.bearer {
		return []byte("user=" + t.c.User + "\x01" + auth + t.c.Secret + "\x01\x01")
	}
	return []byte("n,a=" + saslname(t.c.User) + ",\x01host=" + t.c.Host + "\x01port=" + strconv.Itoa(t.c.Port) + "\x01" + auth + t.c.Secret + "\x01\x01")
}

func (t *token) Done() error {
	if t.refused {
		return fmt.Errorf("%w: it said yes after a refusal", ErrServer)
	}
	return early(!t.said)
}

// saslname is a user's name in messages with commas (RFC 5802 section 5.1).
func saslname(s string) string { return strings.NewReplacer("=", "=3D", ",", "=2C").Replace(s) }

package sasl

import (
	"crypto/hmac"
	"crypto/md5"
	"encoding/hex"
	"fmt"
)

// plain is PLAIN: everything at once.
type plain struct {
	c    Credentials
	said bool
}

func (p *plain) Next(challenge []byte) ([]byte, error) {
	if p.said {
		return nil, fmt.Errorf("%w: PLAIN has one step", ErrServer)
	}
	p.said = true
	return []byte("\x00" + p.c.User + "\x00" + p.c.Secret), nil
}

func (p *plain) Done() error { return early(!p.said) }

// login is LOGIN: the user's name and the password, to whatever prompts.
type login struct {
	c     Credentials
	asked int
}

func (l *login) Next(challenge []byte) ([]byte, error) {
	l.asked++
	switch {
	case l.asked == 1 && challenge == nil:
		l.asked = 0
		return nil, nil // the server prompts first
	case l.asked == 1:
		return []byte(l.c.User), nil
	case l.asked == 2:
		return []byte(l.c.Secret), nil
	}
	return nil, fmt.Errorf("%w: LOGIN has two steps", ErrServer)
}

func (l *login) Done() error { return early(l.asked < 2) }

// cram is CRAM-MD5: a digest of what the server says with the password.
type cram struct {
	c    Credentials
	said bool
}

func (x *cram) Next(challenge []byte) ([]byte, error) {
	switch {
	case challenge == nil:
		return nil, nil
	case x.said || len(challenge) == 0:
		return nil, fmt.Errorf("%w: CRAM-MD5 has one step, with something to digest", ErrServer)
	}
	x.said = true
	mac := hmac.New(md5.New, []byte(x.c.Secret))
	mac.Write(challenge)
	return []byte(x.c.User + " " + hex.EncodeToString(mac.Sum(nil))), nil
}

func (x *cram) Done() error { return early(!x.said) }

// early is the error of a success that comes before its time.
func early(yes bool) error {
	if yes {
		return fmt.Errorf("%w: it said yes before the end", ErrServer)
	}
	return nil
}

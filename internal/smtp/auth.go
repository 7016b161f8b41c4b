package smtp

import (
	"encoding/base64"
	"errors"
	"fmt"
	"strings"
)

const (
	maxChallenges = 10  // of one login
	maxCommand    = 510 // octets of a command without its line end (RFC 5321 section 4.5.3.1.4)
)

// An Exchange answers what a server says while one logs in; see sasl.Client.
type Exchange interface {
	Next(challenge []byte) (response []byte, err error)
	Done() error
}

// A Login is what Auth needs.
type Login struct {
	Mechanism string
	Exchange  Exchange
	Secret    string // is masked where the server says it
}

// hidden stands for what is not shown of a login.
const hidden = "..."

// Auth logs in (RFC 4954). The reply is the last one, whatever its class: 235 means
// that it has worked. A *AuthError is the Exchange's, which gave up or doesn't believe
// the server; the connection is then of no further use.
func (c *Client) Auth(l Login) (Reply, error) {
	said, err := l.Exchange.Next(nil)
	if err != nil {
		return Reply{}, &AuthError{err}
	}
	line := "AUTH " + l.Mechanism
	held := said // what is sent once the server asks
	if with := line + " " + initial(said); said != nil && len(with) <= maxCommand {
		line, held = with, nil
	}
	reply, err := c.confide(line, "AUTH "+l.Mechanism, l)
	for n := 0; err == nil && reply.Code == 334; n++ {
		if n == maxChallenges {
			return c.giveUp(l, fmt.Errorf("more than %d challenges", maxChallenges))
		}
		if said, held = held, nil; said == nil {
			challenge, bad := base64.StdEncoding.DecodeString(strings.TrimSpace(reply.Text))
			if bad != nil {
				return c.giveUp(l, errors.New("a challenge that is not base64"))
			}
			if challenge == nil {
				challenge = []byte{}
			}
			if said, bad = l.Exchange.Next(challenge); bad != nil {
				return c.giveUp(l, bad)
			}
		}
		reply, err = c.confide(base64.StdEncoding.EncodeToString(said), hidden, l)
	}
	switch {
	case err != nil:
		return Reply{}, err
	case reply.Class() == 3, reply.Class() == 2 && reply.Code != 235:
		return Reply{}, fmt.Errorf("%w: %d to AUTH", ErrOutOfStep, reply.Code)
	case reply.Code == 235:
		if bad := l.Exchange.Done(); bad != nil {
			return Reply{}, &AuthError{bad}
		}
	}
	return reply, nil
}

// An AuthError says why an exchange came to nothing that the server has not refused.
type AuthError struct{ Err error }

func (e *AuthError) Error() string { return "login: " + e.Err.Error() }
func (e *AuthError) Unwrap() error { return e.Err }

// initial is a first answer as AUTH has it beside the mechanism.
func initial(said []byte) string {
	if len(said) == 0 {
		return "="
	}
	return base64.StdEncoding.EncodeToString(said)
}

// giveUp ends an exchange, so that the server doesn't wait for more.
func (c *Client) giveUp(l Login, why error) (Reply, error) {
	_, err := c.confide("*", "*", l)
	if err != nil {
		why = errors.Join(why, err)
	}
	return Reply{}, &AuthError{why}
}

// confide sends a line that the transcript shows as another one, and reads the reply.
// What the server may have put of the secret into that is masked.
func (c *Client) confide(line, shown string, l Login) (Reply, error) {
	transcript := c.o.Transcript
	c.o.Transcript = nil
	defer func() { c.o.Transcript = transcript }()
	if transcript != nil {
		transcript('>', shown)
	}
	reply, err := c.command(line)
	if err != nil {
		if text := mask(err.Error(), line, l.Secret); text != err.Error() { // it quotes the server
			err = &maskedError{text, err}
		}
		return Reply{}, err
	}
	show := reply
	if reply.Code == 334 {
		show.Text = hidden
	} else {
		reply.Text = mask(reply.Text, line, l.Secret)
		show = reply
	}
	if transcript != nil {
		for line := range strings.SplitSeq(strings.TrimSuffix(string(show.Append(nil)), crlf), crlf) {
			transcript('<', line)
		}
	}
	return reply, nil
}

// A maskedError is an error whose text quoted what is to be hidden.
type maskedError struct {
	text string
	err  error
}

func (e *maskedError) Error() string        { return e.text }
func (e *maskedError) Is(target error) bool { return errors.Is(e.err, target) }

// mask takes out of a text what a login has sent: the secret, its base64, and the last
// word of what was sent as it was sent.
func mask(text, line, secret string) string {
	sent := line
	if arg, ok := strings.CutPrefix(line, "AUTH "); ok {
		_, sent, _ = strings.Cut(arg, " ")
	}
	for _, s := range []string{sent, secret, base64.StdEncoding.EncodeToString([]byte(secret))} {
		if len(s) > 1 {
			text = strings.ReplaceAll(text, s, hidden)
		}
	}
	return text
}

package signer

import (
	"context"
	"crypto"
	"errors"
	"fmt"
	"io"
	"os"
	"sync/atomic"
	"time"

	"postoffice/applets/privsep/ask"
	"postoffice/applets/privsep/birth"
)

const (
	maxAsked = 64               // questions under way; further ones wait
	signWait = 10 * time.Second // for a place and an answer
)

// ErrGone says that the signer has ended.
var ErrGone = errors.New("the signer has ended")

// errMute is a question that has no answer in time.
var errMute = errors.New("the signer gives no answer")

// Client is the server's end of a signer.
type Client struct {
	*ask.Client[answer]
	signed atomic.Int64
	failed atomic.Int64
}

// NewClient takes over the server's end of a link. A signer that has hung is left.
func NewClient(link *os.File) (*Client, error) {
	conn, err := birth.Conn(link)
	if err != nil {
		return nil, err
	}
	return &Client{Client: ask.New(conn, ask.Options[answer]{Size: answerSize, Decode: decodeAnswer,
		Places: maxAsked, Wait: signWait, Gone: ErrGone, Mute: errMute, Hung: true})}, nil
}

// Counts are how many signatures came, and how many did not.
func (c *Client) Counts() (signed, failed int64) { return c.signed.Load(), c.failed.Load() }

// Key is key number n, whose public part is pub, as crypto/tls signs with it.
func (c *Client) Key(n int, pub crypto.PublicKey) crypto.Signer { return remoteKey{c, uint16(n), pub} }

type remoteKey struct {
	c   *Client
	n   uint16
	pub crypto.PublicKey
}

func (k remoteKey) Public() crypto.PublicKey { return k.pub }

// Sign asks the signer.
func (k remoteKey) Sign(_ io.Reader, content []byte, opts crypto.SignerOpts) ([]byte, error) {
	s, err := schemeFor(k.pub, opts)
	if size, _ := s.size(); err == nil && (len(content) > maxContent || size != 0 && len(content) != size) {
		err = fmt.Errorf("sign %d octets, want %d, or at most %d", len(content), size, maxContent)
	}
	var signature []byte
	if err == nil {
		signature, err = k.c.ask(question{key: k.n, scheme: s, content: content})
	}
	if err != nil {
		k.c.failed.Add(1)
		return nil, err
	}
	k.c.signed.Add(1)
	return signature, nil
}

// ask asks for a signature.
func (c *Client) ask(q question) ([]byte, error) {
	q.number = c.Number()
	a, err := c.Ask(context.Background(), q.number, q.append(make([]byte, 0, questionSize)))
	switch {
	case err != nil:
		return nil, err
	case len(a.signature) == 0:
		return nil, errors.New("the signer refuses to sign that")
	}
	return a.signature, nil
}

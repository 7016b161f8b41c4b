package signer

import (
	"crypto"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"sync"
	"sync/atomic"
	"time"

	"postoffice/applets/privsep/birth"
)

const (
	maxAsked = 64               // questions under way; further ones wait
	signWait = 10 * time.Second // for a place and an answer
)

// ErrGone says that the signer has ended.
var ErrGone = errors.New("the signer has ended")

// Client is the server's end of a signer.
type Client struct {
	conn   *net.UnixConn
	places chan struct{}
	gone   chan struct{} // closed when no answer comes any more
	signed atomic.Int64
	failed atomic.Int64

	mu      sync.Mutex // guards what follows
	number  uint32
	waiting map[uint32]chan answer
}

// NewClient takes over the server's end of a link.
func NewClient(link *os.File) (*Client, error) {
	conn, err := birth.Conn(link)
	if err != nil {
		return nil, err
	}
	c := &Client{conn: conn, places: make(chan struct{}, maxAsked), gone: make(chan struct{}), waiting: map[uint32]chan answer{}}
	go c.read()
	return c, nil
}

// Close ends the signer. What is asked then fails.
func (c *Client) Close() error {
	err := c.conn.Close()
	<-c.gone
	return err
}

// Gone is closed when the signer has ended.
func (c *Client) Gone() <-chan struct{} { return c.gone }

// Counts are how many signatures came, and how many did not.
func (c *Client) Counts() (signed, failed int64) { return c.signed.Load(), c.failed.Load() }

// read hands on answers until the link ends.
func (c *Client) read() {
	defer close(c.gone)
	defer c.conn.Close()
	buf := make([]byte, answerSize+1)
	for {
		n, err := c.conn.Read(buf)
		if err != nil {
			return
		}
		a, err := decodeAnswer(buf[:n])
		if err != nil {
			return // it is no signer of ours
		}
		a.signature = append([]byte(nil), a.signature...)
		c.mu.Lock()
		to := c.waiting[a.number]
		delete(c.waiting, a.number)
		c.mu.Unlock()
		if to != nil {
			to <- a
		}
	}
}

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

// ask sends a question and waits for its answer.
func (c *Client) ask(q question) ([]byte, error) {
	timer := time.NewTimer(signWait)
	defer timer.Stop()
	select {
	case c.places <- struct{}{}:
		defer func() { <-c.places }()
	case <-c.gone:
		return nil, ErrGone
	case <-timer.C:
		return nil, errors.New("the signer is too busy")
	}
	to := make(chan answer, 1)
	c.mu.Lock()
	c.number++
	q.number = c.number
	c.waiting[q.number] = to
	c.mu.Unlock()
	defer c.forget(q.number)
	c.conn.SetWriteDeadline(time.Now().Add(signWait))
	if _, err := c.conn.Write(q.append(make([]byte, 0, questionSize))); err != nil {
		return nil, fmt.Errorf("%w: %w", ErrGone, err)
	}
	select {
	case a := <-to:
		return a.got()
	case <-timer.C:
		return nil, errors.New("the signer gives no answer")
	case <-c.gone:
	}
	select {
	case a := <-to: // it came before the end
		return a.got()
	default:
		return nil, ErrGone
	}
}

func (a answer) got() ([]byte, error) {
	if len(a.signature) == 0 {
		return nil, errors.New("the signer refuses to sign that")
	}
	return a.signature, nil
}

func (c *Client) forget(number uint32) {
	c.mu.Lock()
	defer c.mu.Unlock()
	delete(c.waiting, number)
}

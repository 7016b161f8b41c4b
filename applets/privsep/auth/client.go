package auth

import (
	"context"
	"errors"
	"fmt"
	"os"
	"time"

	"postoffice/applets/privsep/ask"
	"postoffice/applets/privsep/birth"
	"postoffice/internal/smtp"
	"postoffice/vhost"
)

const (
	maxAsked = 64               // questions under way; further ones wait
	maxOne   = maxAsked / 4     // of them about one domain, whose files may be large or changing
	askWait  = 20 * time.Second // for a place and an answer: a large passwd file is read anew in less

	maxNotes = 16 // of one process that are told: it may be anybody's by then

	livesWait = 10 * time.Second // for an answer that is there at once, from a process that may have been stopped
)

// ErrGone says that the process has ended.
var ErrGone = errors.New("the process of virtual domains has ended")

// errMute is a question that has no answer in time.
var errMute = errors.New("the process of virtual domains gives no answer")

// Client is the server's end.
type Client struct {
	*ask.Client[answer]
	wait   time.Duration // for a place and an answer
	shares shares
	counts chan struct{} // places for questions after mailboxes
}

// NewClient takes over the server's end of a link. lives says whether the process answers
// at all; one that doesn't, and has answered nobody for as long as a question may take, is
// left. note is told what the process says unasked, if anybody is to be.
func NewClient(link *os.File, wait time.Duration, lives func() bool, note func(text string)) (*Client, error) {
	conn, err := birth.Conn(link)
	if err != nil {
		return nil, err
	}
	notes := 0
	decode := func(b []byte) (uint32, answer, error) {
		number, a, err := decodeAnswer(b)
		if err == nil && number == 0 && notes < maxNotes && note != nil {
			notes++
			note(a.text)
		}
		return number, a, err
	}
	return &Client{wait: wait, counts: make(chan struct{}, maxCounting), Client: ask.New(conn, ask.Options[answer]{Size: answerSize, Decode: decode,
		Places: maxAsked, Wait: wait, Gone: ErrGone, Mute: errMute, Hung: true, Lives: lives})}, nil
}

// User returns what mail has to know of a user; vhost.ErrNoUser is a definite answer.
func (c *Client) User(ctx context.Context, domain, name string) (vhost.Box, error) {
	a, err := c.ask(ctx, question{verb: askUser, domain: domain, name: name})
	switch {
	case err != nil:
		return vhost.Box{}, err
	case a.kind == no:
		return vhost.Box{}, vhost.ErrNoUser
	case vhost.CheckName(a.text) != nil || !smtp.EqualFold(a.text, name):
		c.Leave() // it is no process of ours
		return vhost.Box{}, fmt.Errorf("user %q for %q: %w", a.text, name, errForm)
	}
	return vhost.Box{Name: a.text, Quota: a.figure}, nil
}

// Used returns how many octets are in a mailbox.
func (c *Client) Used(ctx context.Context, domain, name string, enough int64) (int64, error) {
	select {
	case c.counts <- struct{}{}:
		defer func() { <-c.counts }()
	default:
		return 0, errBusy
	}
	a, err := c.ask(ctx, question{verb: askUsed, enough: max(enough, 0), domain: domain, name: name})
	if err == nil && (a.kind == no || a.figure < 0) {
		err = errForm
	}
	return a.figure, err
}

// Alias returns what a name stands for; vhost.ErrNoAlias is a definite answer.
func (c *Client) Alias(ctx context.Context, domain, name string) (vhost.Alias, error) {
	a, err := c.ask(ctx, question{verb: askAlias, domain: domain, name: name})
	if err == nil && a.kind == no {
		err = vhost.ErrNoAlias
	}
	return vhost.Alias{Line: int(a.figure), Value: a.text}, err
}

// ask sends a question and waits for its answer, which is yes or no.
func (c *Client) ask(ctx context.Context, q question) (answer, error) {
	if len(q.domain) > maxWord || len(q.name) > maxWord {
		return answer{kind: no}, nil // nothing has such a name
	}
	ctx, cancel := context.WithTimeoutCause(ctx, c.wait, errMute)
	defer cancel()
	leave, err := c.shares.enter(ctx, q.domain)
	if err != nil {
		return answer{}, err
	}
	defer leave()
	q.number = c.Number()
	a, err := c.Ask(ctx, q.number, q.append(nil))
	if err == nil && a.kind == later {
		return answer{}, errors.New(a.text)
	}
	return a, err
}

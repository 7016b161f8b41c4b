package dovecot

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"slices"
	"strconv"
	"sync"
	"time"

	"postoffice/applets/smtpd/login"
	"postoffice/internal/smtp"
)

const (
	helloWait  = 5 * time.Second  // for the service's greeting
	answerWait = 60 * time.Second // for one answer of it: Dovecot lets a wrong password wait
	maxLines   = 200              // of the service in its greeting, and again before an answer
)

// passed are the mechanisms that are passed on. Others need more than a password or a
// token, or are no login.
var passed = []string{"SCRAM-SHA-256", "SCRAM-SHA-1", "CRAM-MD5", "OAUTHBEARER", "XOAUTH2", login.Plain}

// Source asks the service behind a unix socket.
type Source struct {
	socket string

	mu         sync.Mutex // guards what follows
	mechanisms []login.Mechanism
}

// New returns the source of the service at socket, an absolute path. Until it has
// answered once it is taken for one that knows passwords, so that clients hear of a login
// that can't be checked now, not of a server where nobody can log in.
func New(socket string) *Source {
	return &Source{socket: socket, mechanisms: []login.Mechanism{{Name: login.Plain}}}
}

// Look asks for the mechanisms, which Mechanisms returns from then on.
func (s *Source) Look(ctx context.Context) error {
	c, err := s.dial(ctx)
	if err != nil {
		return err
	}
	c.Close()
	return nil
}

// Mechanisms are those that the service had when it was asked the last time.
func (s *Source) Mechanisms() []login.Mechanism {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.mechanisms
}

// Begin begins a login.
func (s *Source) Begin(c login.Client, mechanism string) login.Exchange {
	return &exchange{source: s, client: c, mechanism: mechanism}
}

// conn is a connection on which both sides have greeted.
type conn struct {
	net.Conn
	r *bufio.Reader
}

// dial connects and greets. The error says what to look at.
func (s *Source) dial(ctx context.Context) (*conn, error) {
	ctx, cancel := context.WithTimeout(ctx, helloWait)
	defer cancel()
	raw, err := new(net.Dialer).DialContext(ctx, "unix", s.socket)
	if err != nil {
		return nil, fmt.Errorf("no login service at %s: %w; look at option auth, and in Dovecot at service auth, unix_listener: that it runs and that the server's user may write the socket", s.socket, smtp.InWords(err))
	}
	c := &conn{Conn: raw, r: bufio.NewReaderSize(raw, maxLine)}
	until, _ := ctx.Deadline()
	raw.SetDeadline(until)
	mechanisms, err := c.greet()
	if err != nil {
		raw.Close()
		return nil, fmt.Errorf("what is at %s is no login service of Dovecot's: %w", s.socket, smtp.InWords(err))
	}
	s.mu.Lock()
	s.mechanisms = mechanisms
	s.mu.Unlock()
	return c, nil
}

var errVersion = errors.New("it speaks no version 1 of the protocol")

// greet says our version, and reads what the service says up to DONE.
func (c *conn) greet() (mechanisms []login.Mechanism, err error) {
	hello := append(line("VERSION", "1", "1"), line("CPID", strconv.Itoa(os.Getpid()))...)
	if _, err := c.Write(hello); err != nil {
		return nil, err
	}
	versioned := false
	for range maxLines {
		f, err := readLine(c.r)
		if err != nil {
			return nil, err
		}
		switch {
		case f[0] == "VERSION":
			if versioned = len(f) > 1 && f[1] == "1"; !versioned {
				return nil, errVersion
			}
		case f[0] == "MECH" && len(f) > 1:
			if i := slices.IndexFunc(passed, func(p string) bool { return smtp.EqualFold(p, f[1]) }); i >= 0 && !slices.Contains(f[2:], "private") {
				mechanisms = append(mechanisms, login.Mechanism{Name: passed[i]})
			}
		case f[0] == "DONE" && !versioned:
			return nil, errVersion
		case f[0] == "DONE":
			return mechanisms, nil
		}
	}
	return nil, errors.New("its greeting has no end")
}

//go:build e2e

package letters

import (
	"context"
	"errors"
	"net"
	"os/exec"
	"strings"
	"sync"
	"time"

	"postoffice/internal/e2e/lan"
)

// Fleet sends letters to one site until it is stopped.
type Fleet struct {
	*Ledger
	s      *lan.Site
	from   *lan.Host // where the SMTP writers are
	to     []string  // recipients, in turn
	size   int       // octets of a body, at most
	Ctx    context.Context
	cancel context.CancelFunc
	wg     sync.WaitGroup
}

// NewFleet makes a fleet without writers for letters with bodies of at most size
// octets. It stops at the end of the test.
func NewFleet(s *lan.Site, from *lan.Host, size int, to ...string) *Fleet {
	f := &Fleet{Ledger: NewLedger(), s: s, from: from, to: to, size: size}
	f.Ctx, f.cancel = context.WithCancel(context.Background())
	s.T.Cleanup(f.Stop)
	return f
}

// Stop ends the writers and waits for them.
func (f *Fleet) Stop() {
	f.cancel()
	f.wg.Wait()
}

// Write starts n SMTP writers, each with a session after the other.
func (f *Fleet) Write(n int, address string) {
	for range n {
		f.wg.Go(func() {
			for f.Ctx.Err() == nil {
				if err := f.session(address); err != nil && !lan.Pause(f.Ctx, 20*time.Millisecond) {
					return
				}
			}
		})
	}
}

// session sends a few letters over one connection.
func (f *Fleet) session(address string) error {
	conn, err := f.from.Dial(address)
	if err != nil {
		return err
	}
	stop := context.AfterFunc(f.Ctx, func() { conn.SetDeadline(time.Now().Add(5 * time.Second)) })
	defer stop()
	d, err := lan.NewDialogue(conn, "writer.two.test")
	if err != nil {
		return err
	}
	defer conn.Close()
	for range 1 + Roll(8) {
		if f.Ctx.Err() != nil {
			break
		}
		x := New(f.to[Roll(len(f.to))], f.size)
		f.Begin(x)
		err := d.Send("writer@two.test", x.To, x.Text)
		f.End(x, Plain(err))
		if err != nil {
			return err
		}
	}
	d.Quit()
	return nil
}

// Plain is an error without the addresses in it, so that equal ones are counted
// together.
func Plain(err error) error {
	if op := (*net.OpError)(nil); errors.As(err, &op) {
		return op.Err
	}
	return err
}

// Submit starts a sender that calls sendmail, one after the other, each
// followed by a short rest.
func (f *Fleet) Submit(user string) {
	f.wg.Go(func() {
		for f.Ctx.Err() == nil {
			x := New(f.to[Roll(len(f.to))], f.size)
			f.Begin(x)
			ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
			cmd := f.s.As(ctx, user, lan.Applet("sendmail"), "-C", f.s.Config, "-i", "-f", "writer@two.test", x.To)
			cmd.Stdin = strings.NewReader(x.Text)
			f.call(x, true)
			out, err := cmd.CombinedOutput()
			f.call(x, false)
			cancel()
			if exit := (*exec.ExitError)(nil); errors.As(err, &exit) && exit.ExitCode() > 0 && exit.ExitCode() != 75 {
				f.s.T.Errorf("sendmail: exit code %d, want 0 or 75: %s", exit.ExitCode(), out)
			}
			f.End(x, err)
			lan.Pause(f.Ctx, Span(5*time.Millisecond, 50*time.Millisecond))
		}
	})
}

// Trickle starts n SMTP writers that rest between sessions, up to four times as
// long as said, so that readers see the mailbox in many states.
func (f *Fleet) Trickle(n int, rest time.Duration, address string) {
	for range n {
		f.wg.Go(func() {
			for lan.Pause(f.Ctx, Span(rest, 4*rest)) {
				f.session(address)
			}
		})
	}
}

package privsep

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"os"
	"strconv"
	"strings"
	"time"

	"golang.org/x/sys/unix"

	"postoffice/deliver/local"
	"postoffice/internal/maillog"
)

// What a server may have under way; Link keeps below.
const (
	maxRequests  = 1024
	maxLookups   = 64
	maxForeign   = 16 // names without an account: one may have been removed just now
	deliveryTime = 10 * time.Minute
)

// handle does what the server asks for. An error ends the server. It never
// waits for anything but the link.
func (s *session) handle(f frame, files []*os.File) error {
	switch f.op {
	case opReady:
		s.m.ready()
	case opDone:
		return s.m.done()
	case opDeliver:
		if err := checkPipe(files[0]); err != nil {
			return err
		}
		return s.deliver(f.fields[0], f.fields[1], files[0])
	case opSmall:
		return s.deliver(f.fields[0], f.fields[1], small{strings.NewReader(f.fields[2])})
	case opRecorded:
		if err := checkToken(f.fields[0]); err != nil {
			return err
		}
		s.m.results.recorded(f.fields[0])
	case opLookup:
		return s.lookup(f.fields[0], f.fields[1])
	case opBroken:
		return s.m.sockets.Broken(f.fields[0])
	}
	return nil
}

// small is a message that came whole with its request.
type small struct{ *strings.Reader }

func (small) Close() error { return nil }

// deliver starts a delivery to user's mailbox.
func (s *session) deliver(token, user string, from io.ReadCloser) error {
	if err := checkToken(token); err != nil {
		return err
	}
	if err := local.CheckName(user); err != nil {
		return fmt.Errorf("deliver to %q: %w", user, err)
	}
	verdict, res := s.m.results.begin(token)
	switch verdict {
	case alreadyDone:
		from.Close()
		s.log.LogAttrs(context.Background(), slog.LevelWarn, "delivery asked for again", maillog.User(user), slog.String("token", token))
		s.answer(token, res)
		return nil
	case stillRuns:
		from.Close()
		s.answer(token, later("an earlier delivery of this message is not finished"))
		return nil
	case tooMany:
		from.Close()
		s.answer(token, later("too many deliveries wait to be recorded"))
		return nil
	}
	if !s.begin(&s.requests, maxRequests) {
		s.m.results.end(token, res)
		return fmt.Errorf("more than %d deliveries at once", maxRequests)
	}
	s.running.Add(1)
	s.m.running.Go(func() {
		defer s.running.Done()
		defer s.end(&s.requests)
		s.write(token, user, from)
	})
	return nil
}

func later(text string) local.Result {
	r := local.Result{Err: errors.New(text)}
	r.Reply.Code, r.Reply.Status, r.Reply.Text = 450, "4.3.0", text
	return r
}

// write makes the delivery and answers.
func (s *session) write(token, user string, from io.ReadCloser) {
	defer from.Close()
	ctx, cancel := context.WithTimeout(s.ctx, deliveryTime)
	defer cancel()
	d := local.Delivery{User: user, Body: from, Size: -1}
	if pipe, ok := from.(*os.File); ok {
		if err := pipe.SetReadDeadline(time.Now().Add(deliveryTime)); err != nil {
			s.m.results.end(token, local.Result{})
			s.failed(violate("a pipe that can't be waited for: %w", err))
			return
		}
		body := newStreamReader(pipe)
		defer body.release()
		d.Body = body
	}
	res := s.m.boxes.Deliver(ctx, d)
	switch {
	case errors.Is(res.Err, errFrame):
		s.failed(violation{res.Err})
	case errors.Is(res.Err, local.ErrNoUser):
		s.refused(user, res.Err)
	}
	s.m.results.end(token, res)
	s.answer(token, res)
}

func (s *session) answer(token string, res local.Result) {
	if err := s.sendResult(TokenResult{token, res}); err != nil {
		s.failed(err)
	}
}

// refused counts names that don't exist here. The server looks a name up
// before it asks, so that only one that was removed meanwhile is innocent.
func (s *session) refused(user string, err error) {
	s.log.LogAttrs(context.Background(), slog.LevelWarn, "request refused", maillog.User(user), maillog.Err(err))
	s.mu.Lock()
	s.foreign++
	n := s.foreign
	s.mu.Unlock()
	if n > maxForeign {
		s.failed(violate("%d deliveries to users that don't exist, the last to %q", n, user))
	}
}

// checkPipe refuses everything that could be more than a stream of octets.
func checkPipe(f *os.File) error {
	var st unix.Stat_t
	err := withDescriptors([]*os.File{f}, nil, func(fds []int) error { return unix.Fstat(fds[0], &st) })
	if err != nil {
		return fmt.Errorf("look at the descriptor of a delivery: %w", err)
	}
	if st.Mode&unix.S_IFMT != unix.S_IFIFO {
		return fmt.Errorf("descriptor of a delivery has mode %o, want a pipe", st.Mode)
	}
	return nil
}

// begin counts a request; false: too many.
func (s *session) begin(counter *int, most int) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	if *counter >= most {
		return false
	}
	*counter++
	return true
}

func (s *session) end(counter *int) {
	s.mu.Lock()
	defer s.mu.Unlock()
	*counter--
}

// The outcomes of a lookup.
const (
	lookupFound = "found"
	lookupNone  = "none"
	lookupLater = "later"
)

// lookup asks for an account.
func (s *session) lookup(serial, name string) error {
	if _, err := strconv.ParseUint(serial, 10, 64); err != nil {
		return fmt.Errorf("lookup: %w", err)
	}
	if err := local.CheckName(name); err != nil {
		return fmt.Errorf("look up %q: %w", name, err)
	}
	if !s.begin(&s.lookups, maxLookups) {
		return fmt.Errorf("more than %d lookups at once", maxLookups)
	}
	s.m.running.Go(func() {
		defer s.end(&s.lookups)
		a, err := s.m.accounts.Lookup(s.m.ctx, name)
		outcome, text := lookupFound, ""
		if errors.Is(err, local.ErrNoUser) {
			outcome, text = lookupNone, err.Error()
		} else if err != nil {
			outcome, text = lookupLater, err.Error()
		}
		if err := s.c.conn.send(frame{opAccount, []string{
			serial, outcome, a.Name, strconv.Itoa(a.UID), strconv.Itoa(a.GID), a.Home, a.Shell, clip(text),
		}}); err != nil {
			s.failed(err)
		}
	})
	return nil
}

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
		return s.deliver(f.fields, files[0])
	case opSmall:
		return s.deliver(f.fields, small{strings.NewReader(f.fields[6])})
	case opRecorded:
		if err := checkToken(f.fields[0]); err != nil {
			return err
		}
		s.m.results.recorded(f.fields[0])
	case opLookup:
		return s.lookup(f.fields[0], f.fields[1])
	case opRun:
		return s.run(f, files[0])
	case opList:
		return s.list(f, files[0])
	case opForwards:
		return s.forwards(f.fields[0], f.fields[1], f.fields[2])
	case opBroken:
		return s.m.sockets.Broken(f.fields[0])
	}
	return nil
}

// starved answers a request whose pipe was lost for want of descriptors.
func (s *session) starved(f frame) {
	s.log.LogAttrs(context.Background(), slog.LevelError, "request deferred", maillog.Err(errDescriptors))
	s.reply(starvedFrame(f))
}

// starvedFrame defers a request that came with a descriptor.
func starvedFrame(f frame) frame {
	if f.op == opList {
		return listedFrame(f.fields[0], errDescriptors)
	}
	return resultFrame(TokenResult{f.fields[0], failed("too many files are open", errDescriptors)})
}

// small is a message that came whole with its request.
type small struct{ *strings.Reader }

func (small) Close() error { return nil }

// deliver starts a delivery to a user's mailbox; see mailboxFields.
func (s *session) deliver(f []string, from io.ReadCloser) error {
	token, user := f[0], f[1]
	if err := local.CheckName(user); err != nil {
		return fmt.Errorf("deliver to %q: %w", user, err)
	}
	if err := checkFinal(f[2]); err != nil {
		return err
	}
	size, err := parseSize(f[5])
	if err != nil {
		return err
	}
	d := local.Delivery{User: user, Size: size, Final: f[2] == final, Extension: f[3], Folder: f[4]}
	return s.once(token, user, from, func() { s.write(token, d, from) })
}

// once has a delivery made that was not made before, and closes from.
func (s *session) once(token, user string, from io.Closer, work func()) error {
	if err := checkToken(token); err != nil {
		return err
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
		defer from.Close()
		work()
	})
	return nil
}

func later(text string) local.Result {
	r := local.Result{Err: errors.New(text)}
	r.Reply.Code, r.Reply.Status, r.Reply.Text = 450, "4.3.0", text
	return r
}

// write makes the delivery and answers.
func (s *session) write(token string, d local.Delivery, from io.Reader) {
	ctx, cancel := context.WithTimeout(s.ctx, deliveryTime)
	defer cancel()
	d.Body = from
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
	s.conclude(token, d.User, s.m.boxes.Deliver(ctx, d))
}

// conclude answers with what became of a delivery.
func (s *session) conclude(token, user string, res local.Result) {
	switch {
	case errors.Is(res.Err, errFrame):
		s.failed(violation{res.Err})
	case errors.Is(res.Err, local.ErrNoUser), errors.Is(res.Err, errForbidden):
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

// refused counts names that don't exist here or that may not be asked for. The
// server looks a name up before it asks, so that only one that was removed, or
// is no longer the default-user, meanwhile is innocent.
func (s *session) refused(user string, err error) {
	s.log.LogAttrs(context.Background(), slog.LevelWarn, "request refused", maillog.User(user), maillog.Err(err))
	s.mu.Lock()
	s.foreign++
	n := s.foreign
	s.mu.Unlock()
	if n > maxForeign {
		s.failed(violate("%d requests for users that don't exist or may not be asked for, the last for %q", n, user))
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

// lookup asks for an account.
func (s *session) lookup(serial, name string) error {
	if err := checkSerial(serial); err != nil {
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
		s.reply(accountFrame(serial, outcome, a, text))
	})
	return nil
}

// reply sends the answer to a question.
func (s *session) reply(f frame) {
	if err := s.c.conn.send(f); err != nil {
		s.failed(err)
	}
}

func checkSerial(s string) error {
	_, err := strconv.ParseUint(s, 10, 64)
	return err
}

// parseSize reads how many octets a message has at most; -1: it is not known.
func parseSize(s string) (int64, error) {
	if s == "" {
		return -1, nil
	}
	n, err := strconv.ParseUint(s, 10, 62)
	if err != nil {
		return 0, fmt.Errorf("size of a message: %w", err)
	}
	return int64(n), nil
}

func checkFinal(s string) error {
	if s != "" && s != final {
		return fmt.Errorf("%q, want %q or nothing", s, final)
	}
	return nil
}

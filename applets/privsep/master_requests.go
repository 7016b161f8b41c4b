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
	"sync"
	"time"

	"golang.org/x/sys/unix"

	"postoffice/applets/service"
	"postoffice/deliver/local"
	"postoffice/deliver/outcome"
	"postoffice/internal/account"
	"postoffice/internal/maillog"
)

// What a server may have under way; Link keeps below.
const (
	maxRequests  = 1024        // requests of a server that the master works on
	maxLookups   = 256         // of these about accounts and their homes
	maxForeign   = 16          // names without an account: one may have been removed just now
	forgiveAfter = time.Minute // one of them is forgotten after this long
	deliveryTime = 10 * time.Minute
)

// handle does what the server asks for. An error ends the server. It never
// waits for anything but the link.
func (s *serverLife) handle(f frame, files []*os.File) error {
	switch f.op {
	case opReady:
		s.m.ready()
	case opDone:
		if s.m.o.OnePass {
			s.m.done()
		} else {
			s.giveWay()
		}
	case opDeliver:
		if err := checkPipe(files[0]); err != nil {
			return err
		}
		return s.deliver(f.fields, files[0])
	case opSmall:
		return s.deliver(f.fields, small{strings.NewReader(f.fields[7])})
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
	case opKeepOut:
		return s.keepOut(f.fields[0])
	case opPassword:
		return s.password(f.fields)
	case opAuth:
		return s.giveHelper(&s.auth)
	case opShadow:
		return s.giveHelper(&s.shadow)
	case opHung:
		return s.signerHung()
	}
	return nil
}

// starved answers a request whose pipe was lost for want of descriptors.
func (s *serverLife) starved(f frame) {
	s.log.LogAttrs(context.Background(), slog.LevelError, "request deferred", maillog.Err(errDescriptors))
	s.reply(starvedFrame(f))
}

// starvedFrame defers a request that came with a descriptor.
func starvedFrame(f frame) frame {
	if f.op == opList {
		return listedFrame(f.fields[0], errDescriptors)
	}
	return resultFrame(local.TokenResult{Token: f.fields[0], Result: failed("too many files are open", errDescriptors)})
}

// small is a message that came whole with its request.
type small struct{ *strings.Reader }

func (small) Close() error { return nil }

// deliver starts a delivery to a user's mailbox; see mailboxFields.
func (s *serverLife) deliver(f []string, from io.ReadCloser) error {
	token, user := f[0], f[1]
	if err := account.CheckName(user); err != nil {
		return fmt.Errorf("deliver to %q: %w", user, err)
	}
	d, err := parseDelivery(f)
	if err != nil {
		return err
	}
	return s.once(token, user, from, func(over func()) { s.deliverAs(f, d, from, over) })
}

// once has a delivery made that was not made before, and closes from. work calls
// over if the server is answered before it is done.
func (s *serverLife) once(token, user string, from io.Closer, work func(over func())) error {
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
		s.answer(token, failed(errStillRuns.Error(), errStillRuns))
		return nil
	case tooMany:
		from.Close()
		s.answer(token, failed(errTooMany.Error(), errTooMany))
		return nil
	}
	if !s.begin(&s.requests, maxRequests) {
		s.m.results.end(token, res)
		return fmt.Errorf("more than %d deliveries at once", maxRequests)
	}
	s.running.Add(1)
	s.m.running.Go(func() {
		defer from.Close()
		over := sync.OnceFunc(func() { s.end(&s.requests); s.running.Done() })
		defer over()
		work(over)
	})
	return nil
}

var (
	errStillRuns = errors.New("an earlier delivery of this message is not finished")
	errTooMany   = errors.New("too many deliveries wait to be recorded")
)

// write makes the delivery and answers. One that hangs on a file system that does
// not answer goes on alone: the server hears that it is deferred, and what became
// of it when it asks again.
func (s *serverLife) write(token string, d local.Delivery, from io.ReadCloser, over func()) {
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
	told := false
	res := s.m.boxes.DeliverOr(ctx, d, func(meanwhile local.Result) {
		told = true
		from.Close() // what has not come yet does not come any more
		s.answer(token, meanwhile)
		over()
	})
	if told {
		s.m.results.end(token, res)
		return
	}
	s.conclude(token, d.User, res, true)
}

// conclude answers with what became of a delivery. counts says whether an honest
// server would not have asked for a user that doesn't exist.
func (s *serverLife) conclude(token, user string, res local.Result, counts bool) {
	switch {
	case errors.Is(res.Err, errFrame):
		s.failed(violation{res.Err})
	case errors.Is(res.Err, account.ErrNoUser) && !counts:
		s.tellRefused(user, res.Err)
	case errors.Is(res.Err, account.ErrNoUser), errors.Is(res.Err, errForbidden):
		s.refused(user, res.Err)
	}
	s.m.results.end(token, res)
	s.answer(token, res)
}

func (s *serverLife) answer(token string, res local.Result) {
	if err := s.sendResult(local.TokenResult{Token: token, Result: res}); err != nil {
		s.failed(err)
	}
}

// refused counts names that don't exist here or that may not be asked for. The
// server looks a name up before it asks, so that only one that was removed, or
// is no longer the default-user, meanwhile is innocent.
func (s *serverLife) refused(user string, err error) {
	s.tellRefused(user, err)
	if n := s.countForeign(time.Now()); n > maxForeign {
		s.failed(violate("%d requests for users that don't exist or may not be asked for, the last for %q", n, user))
	}
}

func (s *serverLife) tellRefused(user string, err error) {
	s.log.LogAttrs(context.Background(), slog.LevelWarn, "request refused", maillog.User(user), maillog.Err(err))
}

// countForeign adds one to the requests that were refused lately.
func (s *serverLife) countForeign(now time.Time) int {
	s.mu.Lock()
	defer s.mu.Unlock()
	if past := int(now.Sub(s.foreignSince) / forgiveAfter); past > 0 {
		s.foreign, s.foreignSince = max(s.foreign-past, 0), now
	}
	s.foreign++
	return s.foreign
}

// checkPipe refuses everything that could be more than a stream of octets.
func checkPipe(f *os.File) error {
	var st unix.Stat_t
	err := service.WithDescriptors([]*os.File{f}, nil, func(fds []int) error { return unix.Fstat(fds[0], &st) })
	if err != nil {
		return fmt.Errorf("look at the descriptor of a delivery: %w", err)
	}
	if st.Mode&unix.S_IFMT != unix.S_IFIFO {
		return fmt.Errorf("descriptor of a delivery has mode %o, want a pipe", st.Mode)
	}
	return nil
}

// begin counts a request; false: too many.
func (s *serverLife) begin(counter *int, most int) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	if *counter >= most {
		return false
	}
	*counter++
	return true
}

func (s *serverLife) end(counter *int) {
	s.mu.Lock()
	defer s.mu.Unlock()
	*counter--
}

// lookup asks for an account.
func (s *serverLife) lookup(serial, name string) error {
	if err := checkSerial(serial); err != nil {
		return fmt.Errorf("lookup: %w", err)
	}
	if err := account.CheckName(name); err != nil {
		return fmt.Errorf("look up %q: %w", name, err)
	}
	if !s.begin(&s.lookups, maxLookups) {
		return fmt.Errorf("more than %d lookups at once", maxLookups)
	}
	s.m.running.Go(func() {
		defer s.end(&s.lookups)
		a, err := s.m.accounts.Lookup(s.m.ctx, name)
		outcome, text := lookupFound, ""
		if errors.Is(err, account.ErrNoUser) {
			outcome, text = lookupNone, err.Error()
		} else if err != nil {
			outcome, text = lookupLater, err.Error()
		}
		s.reply(accountFrame(serial, outcome, a, text))
	})
	return nil
}

// reply sends the answer to a question.
func (s *serverLife) reply(f frame) {
	if err := s.c.conn.send(f); err != nil {
		s.failed(err)
	}
}

func checkSerial(s string) error {
	_, err := strconv.ParseUint(s, 10, 64)
	return err
}

// parseSize reads how many octets a message has at most, or a mailbox may have; -1: it
// is not known.
func parseSize(s string) (int64, error) {
	if s == "" {
		return -1, nil
	}
	n, err := strconv.ParseUint(s, 10, 62)
	if err != nil {
		return 0, fmt.Errorf("size of a message or mailbox: %w", err)
	}
	return int64(n), nil
}

func checkFinal(s string) error {
	if s != "" && s != final {
		return fmt.Errorf("%q, want %q or nothing", s, final)
	}
	return nil
}

// maxKept bounds the results that are kept for servers that don't record them:
// beyond it nothing more is delivered.
const maxKept = 10_000

// results holds the deliveries that are under way, and the results of those
// that were made and are not yet recorded. It outlives every server.
type results struct {
	mu   sync.Mutex // guards kept
	kept map[string]*kept
}

type kept struct {
	running bool
	result  local.Result // Delivered
}

// verdict says what to do with a delivery that is asked for.
type verdict int

const (
	deliverIt   verdict = iota // it is marked as running now
	alreadyDone                // it was delivered: here is the result
	stillRuns                  // an earlier request for it is not finished
	tooMany                    // too many results wait to be recorded
)

// begin decides about a delivery. One that was made and is not recorded is
// never made again.
func (r *results) begin(token string) (verdict, local.Result) {
	r.mu.Lock()
	defer r.mu.Unlock()
	k := r.kept[token]
	switch {
	case k != nil && k.running:
		return stillRuns, local.Result{}
	case k != nil:
		return alreadyDone, k.result
	case len(r.kept) >= maxKept:
		return tooMany, local.Result{}
	}
	r.kept[strings.Clone(token)] = &kept{running: true} // not the message that it came with
	return deliverIt, local.Result{}
}

// end keeps the result of a delivery that was made. Any other is forgotten:
// asked again, it costs a second look and nothing else.
func (r *results) end(token string, res local.Result) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if res.Action == outcome.Delivered {
		*r.kept[token] = kept{result: res}
	} else {
		delete(r.kept, token)
	}
}

// recorded forgets a result.
func (r *results) recorded(token string) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if k := r.kept[token]; k != nil && !k.running {
		delete(r.kept, token)
	}
}

// unrecorded returns the results that a new server has to hear.
func (r *results) unrecorded() []local.TokenResult {
	r.mu.Lock()
	defer r.mu.Unlock()
	var list []local.TokenResult
	for token, k := range r.kept {
		if !k.running {
			list = append(list, local.TokenResult{Token: token, Result: k.result})
		}
	}
	return list
}

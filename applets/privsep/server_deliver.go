package privsep

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"strconv"
	"syscall"
	"time"

	"postoffice/deliver/local"
	"postoffice/deliver/outcome"
	"postoffice/internal/account"
)

// final is the field of a delivery that no .forward sends elsewhere.
const final = "final"

func finalField(yes bool) string {
	if yes {
		return final
	}
	return ""
}

// Deliver has the master write d into the mailbox of d.User. The token names
// the delivery: as long as its result is Delivered and not Recorded, another
// call with it, by this server or the next, gets that result and delivers
// nothing. It is up to 128 octets of printable ASCII without spaces.
func (l *Link) Deliver(ctx context.Context, token string, d local.Delivery) local.Result {
	return l.deliver(ctx, l.deliveries, token, d.User, func() error { return l.sendDelivery(ctx, token, d) })
}

// Run has the user's process run a program or write a file for one message:
// what Deliver says about tokens holds. Where the master's tree ends in the
// middle, a program may run a second time.
func (l *Link) Run(ctx context.Context, token string, j local.Job) local.Result {
	e := j.Envelope
	f := frame{opRun, []string{
		token, j.User, string(j.Item.Source), j.Item.Name, string(j.Item.Hash[:]), finalField(j.Final),
		e.Sender.Local, e.Sender.Domain, e.Recipient.Local, e.Recipient.Domain, e.Extension, e.QueueID,
	}}
	return l.deliver(ctx, l.runs, token, j.User, func() error { return l.sendPiped(ctx, f, j.Body) })
}

// deliver asks with send and waits for the result, which is known by the token.
func (l *Link) deliver(ctx context.Context, places chan struct{}, token, user string, send func() error) local.Result {
	if err := errors.Join(checkToken(token), account.CheckName(user)); err != nil {
		return failed("local delivery is not possible", err)
	}
	select {
	case places <- struct{}{}:
		defer func() { <-places }()
	case <-ctx.Done():
		return failed("local delivery was interrupted", context.Cause(ctx))
	case <-l.closed:
		return failed("local delivery is not possible now", errClosed)
	}
	result, err := l.expect(token)
	if err != nil {
		return failed("local delivery is not possible now", err)
	}
	defer l.forget(token)
	if err := send(); err != nil {
		return failed("local delivery is not possible now", err)
	}
	select { // not ctx: it may have been delivered
	case r := <-result:
		return r
	case <-l.closed:
		return failed("local delivery is not possible now", errClosed)
	}
}

var errClosed = errors.New("the master is gone")

func failed(text string, err error) local.Result {
	return local.Result{Outcome: outcome.Deferral("4.3.0", text, err)}
}

func (l *Link) expect(token string) (<-chan local.Result, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.results[token] != nil {
		return nil, fmt.Errorf("delivery %s is under way", token)
	}
	c := make(chan local.Result, 1)
	l.results[token] = c
	return c, nil
}

func (l *Link) forget(token string) {
	l.mu.Lock()
	defer l.mu.Unlock()
	delete(l.results, token)
}

// sendDelivery asks for a delivery and sends its octets, a small message with
// the request. An error means that the master got no whole message; it may
// have refused it already.
func (l *Link) sendDelivery(ctx context.Context, token string, d local.Delivery) error {
	buf := chunks.Get().(*chunkBuffer)
	defer chunks.Put(buf)
	n, err := local.ReadBody(d.Body, buf[:maxSmall+1])
	if err != nil && err != io.EOF {
		return local.BodyError{Err: err}
	}
	f := frame{opSmall, []string{token, d.User, finalField(d.Final), d.Extension, d.Folder, "", "", ""}}
	if d.Quota > 0 {
		f.fields[6] = strconv.FormatInt(d.Quota, 10)
	}
	if n <= maxSmall {
		f.fields[5], f.fields[7] = strconv.Itoa(n), string(buf[:n])
		return l.conn.send(f)
	}
	if d.Size >= 0 {
		f.fields[5] = strconv.FormatInt(d.Size, 10)
	}
	return l.sendPiped(ctx, frame{opDeliver, f.fields[:7]}, io.MultiReader(bytes.NewReader(buf[:n]), d.Body))
}

// sendPiped asks with f and sends the octets through a pipe.
func (l *Link) sendPiped(ctx context.Context, f frame, body io.Reader) error {
	r, w, err := os.Pipe()
	if err != nil {
		return err
	}
	defer w.Close()
	err = l.conn.send(f, r)
	r.Close()
	if err != nil {
		return err
	}
	stop := context.AfterFunc(ctx, func() { w.SetWriteDeadline(time.Unix(1, 0)) })
	defer stop()
	err = sendStream(w, body)
	if errors.Is(err, syscall.EPIPE) { // it has made up its mind: the result comes
		return nil
	}
	if errors.Is(err, os.ErrDeadlineExceeded) {
		return context.Cause(ctx)
	}
	return err
}

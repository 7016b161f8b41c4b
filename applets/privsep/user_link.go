package privsep

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"os"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"postoffice/applets/privsep/birth"
	"postoffice/applets/privsep/creds"
	"postoffice/deliver/local"
	"postoffice/deliver/local/stalled"
	"postoffice/internal/account"
)

// Worker does what is asked of a user's process: user.User does. When the
// context ends it ends its programs and returns.
type Worker interface {
	Run(ctx context.Context, j local.Job) local.Result
	List(ctx context.Context, g local.Listing) ([]local.Line, error)

	// In a process that writes mailboxes alone, as mailbox.Mailboxes does:
	Deliver(ctx context.Context, d local.Delivery) local.Result
	Forwards(ctx context.Context, user, extension string) (bool, error)
	Hangs() (way int, yes bool)
}

// UserLink is the end of a user's process.
type UserLink struct {
	conn     *conn
	account  account.Account
	settings []byte
	writing  atomic.Int64 // deliveries and questions under way
	tell     sync.Once    // tellMoves
}

// lastWords is how long a user's process waits for its work once the link is
// closed: less than userEnd.
const lastWords = userEnd * 3 / 4

// movesWait is between two words of a process that writes mailboxes: often enough that it
// is never taken for one that hangs.
const movesWait = stalled.StepWait / 4

// ConnectUser makes this process, started as UserRole, the user's, and waits for
// what the master hands over. From here on the link alone ends the process, no
// signal but SIGKILL; what it starts gets signals as usual. At no time can other
// processes of the user, programs too, trace it, and it leaves no core.
func ConnectUser() (*UserLink, error) {
	c, err := birth.Become()
	if err != nil {
		return nil, fmt.Errorf("a user's process: %w", err)
	}
	l := &UserLink{conn: newConn(c, toUser(), fromUser())}
	if err := l.takeOver(); err != nil {
		c.Close()
		return nil, fmt.Errorf("a user's process: taking over from the master: %w", err)
	}
	return l, nil
}

// takeOver reads the settings and the account.
func (l *UserLink) takeOver() error {
	if err := l.conn.c.SetReadDeadline(time.Now().Add(handOverTime)); err != nil {
		return err
	}
	for {
		f, files, err := l.conn.recv()
		if err != nil {
			return err
		}
		switch f.op {
		case opSettings:
			l.settings = append(l.settings, f.fields[0]...)
		case opAccount:
			if l.account, err = parseAccount(f); err != nil {
				return err
			}
			return l.conn.c.SetReadDeadline(time.Time{})
		default:
			closeAll(files)
			return fmt.Errorf("%w: op %d before the account", errFrame, f.op)
		}
	}
}

// Account is the user that this process is.
func (l *UserLink) Account() account.Account { return l.account }

// Settings are the octets of UserOptions.Settings.
func (l *UserLink) Settings() []byte { return l.settings }

// Serve has w do what the master asks for until the link closes. Then the
// context of w's work ends, and Serve returns when that is over, or 1.5 s
// later.
func (l *UserLink) Serve(ctx context.Context, w Worker) {
	ctx, cancel := context.WithCancel(ctx)
	var working sync.WaitGroup
	for {
		f, files, err := l.conn.recv()
		if err == errDescriptors {
			_ = l.conn.send(starvedFrame(f))
			continue
		}
		if err != nil {
			break // the master is gone, or no longer needs us
		}
		switch f.op {
		case opRun:
			working.Go(func() { l.run(ctx, w, f.fields, files[0]) })
		case opList:
			working.Go(func() { l.list(ctx, w, f.fields, files[0]) })
		case opDeliver:
			l.moves(ctx, w)
			working.Go(func() { l.deliver(ctx, w, f.fields, files[0]) })
		case opSmall:
			l.moves(ctx, w)
			working.Go(func() { l.mail(ctx, w, f.fields, strings.NewReader(f.fields[7])) })
		case opForwards:
			l.moves(ctx, w)
			working.Go(func() { l.forwards(ctx, w, f.fields) })
		}
	}
	l.conn.close()
	cancel()
	waitFor(&working, lastWords)
}

// item reads what runFields and listFields have in common.
func item(f []string) local.Item {
	i := local.Item{Source: local.Source(f[2]), Name: f[3]}
	copy(i.Hash[:], f[4])
	return i
}

func (l *UserLink) run(ctx context.Context, w Worker, f []string, from *os.File) {
	defer from.Close()
	defer context.AfterFunc(ctx, func() { from.SetReadDeadline(time.Unix(1, 0)) })()
	body := newStreamReader(from)
	defer body.release()
	j := local.Job{User: f[1], Item: item(f), Final: f[5] == final, Body: body}
	e := &j.Envelope
	e.Sender.Local, e.Sender.Domain, e.Recipient.Local, e.Recipient.Domain, e.Extension, e.QueueID = f[6], f[7], f[8], f[9], f[10], f[11]
	var res local.Result
	if err := creds.Guard(func() error { res = w.Run(ctx, j); return nil }); err != nil {
		res = failed("the user's process has a fault", err)
	}
	// Without a master there is nobody to tell.
	_ = l.conn.send(resultFrame(local.TokenResult{Token: f[0], Result: res}))
}

func (l *UserLink) list(ctx context.Context, w Worker, f []string, into *os.File) {
	err := creds.Guard(func() error {
		defer into.Close()
		lines, err := w.List(ctx, local.Listing{User: f[1], Item: item(f), Extension: f[5]})
		if err != nil {
			return err
		}
		b, err := local.EncodeLines(lines)
		if err != nil {
			return err
		}
		if err := into.SetWriteDeadline(time.Now().Add(listTime)); err != nil {
			return err
		}
		return sendStream(into, bytes.NewReader(b))
	})
	_ = l.conn.send(listedFrame(f[0], err))
}

// moves counts what is to be written, and from the first such request on tells the master
// that the process is well, or hangs, as long as anything is under way.
func (l *UserLink) moves(ctx context.Context, w Worker) {
	l.writing.Add(1)
	l.tell.Do(func() { go l.tellMoves(ctx, w) })
}

func (l *UserLink) tellMoves(ctx context.Context, w Worker) {
	tick := time.NewTicker(movesWait)
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
		}
		hangs := ""
		if way, yes := w.Hangs(); yes {
			hangs = strconv.Itoa(way)
		}
		if l.writing.Load() > 0 && l.conn.send(frame{opMoves, []string{hangs}}) != nil {
			return
		}
	}
}

// deliver writes a message that comes through a pipe into a mailbox.
func (l *UserLink) deliver(ctx context.Context, w Worker, f []string, from *os.File) {
	defer from.Close()
	defer context.AfterFunc(ctx, func() { from.SetReadDeadline(time.Unix(1, 0)) })()
	body := newStreamReader(from)
	defer body.release()
	l.mail(ctx, w, f, body)
}

// mail writes a message into a mailbox.
func (l *UserLink) mail(ctx context.Context, w Worker, f []string, body io.Reader) {
	d, err := parseDelivery(f)
	var res local.Result
	if err == nil {
		d.Body = body
		err = creds.Guard(func() error { res = w.Deliver(ctx, d); return nil })
	}
	if err != nil {
		res = failed("the user's process has a fault", err)
	}
	l.writing.Add(-1)
	_ = l.conn.send(resultFrame(local.TokenResult{Token: f[0], Result: res}))
}

// forwards looks for a .forward.
func (l *UserLink) forwards(ctx context.Context, w Worker, f []string) {
	ctx, cancel := context.WithTimeout(ctx, listTime)
	defer cancel()
	yes := false
	err := creds.Guard(func() (err error) { yes, err = w.Forwards(ctx, f[1], f[2]); return err })
	l.writing.Add(-1)
	_ = l.conn.send(forwardedFrame(f[0], yes, err))
}

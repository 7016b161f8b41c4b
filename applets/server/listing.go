package server

import (
	"errors"
	"fmt"
	"io"
	"iter"
	"os"
	"slices"
	"strings"
	"time"

	"postoffice/applets/control"
	"postoffice/applets/sysexits"
	"postoffice/deliver/route"
	"postoffice/internal/disk"
	"postoffice/internal/smtp"
	"postoffice/spool"
	"postoffice/spool/envelope"
	"postoffice/spool/maildrop"
)

// Listing reads the queue for people. Whatever is in the queue, it holds 3 MB of
// it: names and messages are read as they are asked for.
type Listing struct {
	Queue  *spool.Queue
	Active func(spool.ID) bool // whether a message is being delivered now; nil: none is
	Viewer route.Viewer        // who looks
}

// WholeListing is for who may read the queue's files.
func WholeListing(q *spool.Queue) Listing {
	return Listing{Queue: q, Viewer: route.Viewer{UID: os.Getuid(), All: true}}
}

// maxNames is how many names of the queue are read and sorted at once.
const maxNames = 5000

// All goes through the queue in the order of arrival; messages that end
// meanwhile are passed over. Behind it is what the viewer may know of maildrop/.
func (l Listing) All() iter.Seq2[control.Part, error] {
	return func(yield func(control.Part, error) bool) {
		for after, more := spool.ID(""), true; more; {
			ids, err := l.next(after)
			if err != nil {
				yield(control.Part{}, fmt.Errorf("list the queue: %w", err))
				return
			}
			for _, id := range ids {
				if err := l.message(id, false, yield); errors.Is(err, errEnough) || err != nil && !errors.Is(err, spool.ErrGone) && !yield(control.Part{}, err) {
					return
				}
				after = id
			}
			more = len(ids) == maxNames
		}
		for _, m := range l.dropped() {
			if !yield(control.Part{Message: &m}, nil) {
				return
			}
		}
	}
}

// next returns the first IDs after one, which sort by time, maxNames at most.
func (l Listing) next(after spool.ID) (ids []spool.ID, err error) {
	cut := func() {
		slices.Sort(ids)
		ids = slices.Compact(ids)
		ids = ids[:min(len(ids), maxNames)]
	}
	for e, err := range l.Queue.Entries() {
		if err != nil {
			return nil, err
		}
		if e.ID <= after {
			continue
		}
		if ids = append(ids, e.ID); len(ids) == 2*maxNames {
			cut()
		}
	}
	cut()
	return ids, nil
}

// dropped is what waits in maildrop/: of all users for root and the owner of
// the queue, for anybody else their own messages.
func (l Listing) dropped() (all []control.Message) {
	waiting, err := maildrop.Waiting(disk.OS(), l.Queue.Dir())
	if err != nil {
		return nil // others' rights to the directory are none of the queue's
	}
	for _, w := range waiting {
		if mayChange(control.Peer{UID: l.Viewer.UID}) != nil && w.Owner != l.Viewer.UID {
			continue
		}
		files := "one message"
		owner, _ := Login(w.Owner)
		if w.Files > 1 {
			files = fmt.Sprintf("%d messages", w.Files)
		}
		all = append(all, control.Message{
			ID: maildrop.Dir, Size: w.Octets, Arrived: w.Oldest, Sender: owner, State: control.Dropped, Files: w.Files, Recipients: []control.Recipient{},
			Reason: files + " of " + owner + " in maildrop/, for the next server or run of the queue",
		})
	}
	return all
}

// One shows a message with its history. An error is a *control.Error where it is
// not in the queue.
func (l Listing) One(id spool.ID) iter.Seq2[control.Part, error] {
	return func(yield func(control.Part, error) bool) {
		err := l.message(id, true, yield)
		if errors.Is(err, spool.ErrGone) {
			err = NoMessage(string(id))
		}
		if err != nil && !errors.Is(err, errEnough) {
			yield(control.Part{}, err)
		}
	}
}

// Open reads a message's header and body.
func (l Listing) Open(id string) (io.ReadCloser, error) {
	r, err := l.Queue.OpenData(spool.ID(id))
	if err != nil {
		return nil, MessageError(id, err)
	}
	return r, nil
}

// NoMessage returns the error for an ID that is not in the queue.
func NoMessage(id string) error {
	return &control.Error{Code: sysexits.Unavailable, Text: fmt.Sprintf("no message %.40q in the queue", id)}
}

// errEnough says that nobody wants more.
var errEnough = errors.New("enough")

// message shows one message, with history or without.
func (l Listing) message(id spool.ID, history bool, yield func(control.Part, error) bool) error {
	look, err := l.Queue.Look(id)
	if errors.Is(err, spool.ErrLater) {
		m := control.Message{ID: string(id), State: control.Deferred, Private: !l.Viewer.All}
		if l.Viewer.All {
			m.Reason = err.Error()
		}
		return enough(yield(control.Part{Message: &m}, nil))
	}
	if err != nil {
		return err
	}
	defer look.Close() // only read
	shown := shown{look, l.Viewer, yield}
	m := shown.head(l.Active != nil && l.Active(id))
	if err := enough(yield(control.Part{Message: &m}, nil)); err != nil || m.Private || look.Damaged {
		return err
	}
	places, err := shown.recipients(history)
	if err != nil || !history {
		return err
	}
	look.ForgetAttempts()
	return shown.history(places)
}

func enough(more bool) error {
	if !more {
		return errEnough
	}
	return nil
}

// shown is a message as one viewer sees it.
type shown struct {
	*spool.Look
	viewer route.Viewer
	yield  func(control.Part, error) bool
}

// head is the message without its recipients. Of one that isn't theirs others see
// that it is there.
func (s shown) head(active bool) control.Message {
	m := control.Message{ID: string(s.ID), Size: s.Size, State: control.Corrupt, Reason: s.Reason, Private: !s.viewer.Submitted(s.Envelope.Client)}
	if !s.Damaged && s.Location != spool.Corrupt {
		m.Arrived, m.Sender = s.Envelope.Arrived, s.Envelope.ReversePath.String()
		_, m.RequireTLS = smtp.FindParam(s.Envelope.Params, smtp.ParamTLS)
		m.State = control.Deferred
		switch {
		case s.Location == spool.Held:
			m.State = control.Held
		case s.Location == spool.Waiting:
			m.State = control.Waiting
		case active || !s.Next.After(time.Now()):
			m.State = control.Active
		}
	}
	if m.Private {
		m.Sender, m.Reason, m.RequireTLS = "", "", false
	}
	return m
}

// batch is how many recipients or notes are gathered before they are sent.
const batch = 100

// place is where a recipient stands among those that are sent, from 1; negative
// for one that the viewer does not see, 0 for none.
type place int32

// recipients sends those that mailq shows: who is still to get the message, and
// what was said last. With all also those that were expanded, for the history.
func (s shown) recipients(all bool) (places []place, err error) {
	newest, free := s.Attempts()
	defer free()
	var said saying
	if all {
		places = make([]place, s.Len())
	}
	n := place(0)
	var some []control.Recipient
	for rc, err := range s.Recipients() {
		if err != nil {
			return nil, err
		}
		if rc.State == envelope.Expanded && !all {
			continue
		}
		r := control.Recipient{Address: rc.Target.String(), State: rc.State.String()}
		hidden := s.hides(rc, &r)
		if last, ok := newest(rc.Key); ok {
			last = cleared(last, hidden)
			r.Attempts, r.Relay, r.TLS, r.Reply = last.Attempt, last.Relay, last.TLS, said.words(last)
			if rc.State == envelope.Pending {
				r.Next = last.Next
			}
		}
		if i, ok := s.Find(rc.Key); ok && all {
			if n++; hidden {
				places[i] = -n
			} else {
				places[i] = n
			}
		}
		if some = append(some, r); len(some) == batch {
			if !s.yield(control.Part{Recipients: some}, nil) {
				return nil, errEnough
			}
			some = nil
		}
	}
	if len(some) > 0 && !s.yield(control.Part{Recipients: some}, nil) {
		return nil, errEnough
	}
	return places, nil
}

// hides gives a recipient another name where the viewer does not see it.
func (s shown) hides(rc envelope.Recipient, r *control.Recipient) bool {
	if s.viewer.All || rc.Parent == envelope.NoKey {
		return false
	}
	x, hidden := route.ScreenOf(rc, s.Recipient).Hides(s.viewer)
	if hidden {
		r.Address = x.Behind()
	}
	return hidden
}

// cleared is a note as who sees its recipients has it, or not.
func cleared(n envelope.Note, hidden bool) envelope.Note {
	if hidden {
		n.Relay, n.TLS, n.Err, n.Reply.Text = "", "", "", ""
	}
	return n
}

// maxReply is what is shown of a reply, or of an error, in octets.
const maxReply = 1 << 10

func clipped(text string) string {
	if len(text) <= maxReply {
		return text
	}
	return strings.ToValidUTF8(text[:maxReply], "") + "..."
}

// saying keeps the words of the note before: many recipients share one.
type saying struct {
	reply smtp.Reply
	err   string
	text  string
}

func (s *saying) words(n envelope.Note) string {
	if s.reply != n.Reply || s.err != n.Err || s.text == "" {
		*s = saying{n.Reply, n.Err, words(n)}
	}
	return s.text
}

// words are what a note says happened: the other side's reply or our own, and
// the failure behind it.
func words(n envelope.Note) string {
	if n.Reply.IsZero() {
		return clipped(n.Err)
	}
	reply := clipped(n.Reply.String())
	if strings.Contains(reply, n.Err) {
		return reply // it says so itself
	}
	if n.Reply.Permanent() && !n.Next.IsZero() { // it is no answer about the message, as of a login
		return clipped(n.Err) + "; it said: " + reply
	}
	return reply + " (" + clipped(n.Err) + ")"
}

// history sends the notes in their order, as they are read.
func (s shown) history(places []place) error {
	for n, err := range s.Notes() {
		if err != nil {
			return err
		}
		var seen, hidden []control.Range
		for _, k := range n.Keys {
			i, ok := s.Find(k)
			switch {
			case ok && places[i] > 0:
				seen = control.Extend(seen, int(places[i])-1)
			case ok && places[i] < 0:
				hidden = control.Extend(hidden, int(-places[i])-1)
			}
		}
		whole := len(n.Keys) == 0
		if whole && n.Event == "" && slices.ContainsFunc(places, func(p place) bool { return p < 0 }) {
			n = cleared(n, true)
		}
		if (whole || len(seen) > 0) && !s.note(n, seen) || len(hidden) > 0 && !s.note(cleared(n, true), hidden) {
			return errEnough
		}
	}
	return nil
}

// note sends a note, in parts where it speaks of many.
func (s shown) note(n envelope.Note, about []control.Range) bool {
	e := control.Note{Time: n.Time, Event: n.Event, Attempt: n.Attempt, Relay: n.Relay, TLS: n.TLS, Err: clipped(n.Err), Next: n.Next}
	if !n.Reply.IsZero() {
		e.Reply = words(n)
	}
	if len(about) == 0 {
		return s.yield(control.Part{History: []control.Note{e}}, nil)
	}
	for some := range slices.Chunk(about, control.MaxRanges) {
		e.For = some
		if !s.yield(control.Part{History: []control.Note{e}}, nil) {
			return false
		}
	}
	return true
}

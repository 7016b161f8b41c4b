package applets

import (
	"strings"
	"time"

	"postoffice/internal/control"
	"postoffice/spool"
)

// history is what the notes of a message tell of each recipient.
type history struct {
	snap *spool.Snapshot
	last map[spool.Key]spool.Note // the newest note about an attempt at a recipient
	next time.Time                // the message's next attempt; zero: it is due
}

func newHistory(snap *spool.Snapshot) history {
	h := history{snap: snap, last: make(map[spool.Key]spool.Note)}
	for _, n := range snap.Notes {
		keys := n.Keys
		if len(keys) == 0 {
			for _, r := range snap.Recipients {
				keys = append(keys, r.Key)
			}
		}
		if n.Event == "" { // held, say, is no attempt
			for _, k := range keys {
				h.last[k] = n
			}
		}
		if !n.Next.IsZero() {
			h.next = n.Next
		}
	}
	return h
}

// recipients are those that mailq shows: who is still to get the message, and
// what was said last.
func (h history) recipients() []control.Recipient {
	var all []control.Recipient
	for _, r := range h.snap.Recipients {
		if r.State == spool.Expanded {
			continue
		}
		shown := control.Recipient{Address: r.Target.String(), State: r.State.String()}
		if n, ok := h.last[r.Key]; ok {
			shown.Attempts = n.Attempt
			shown.Relay, shown.Reply = n.Relay, words(n)
			if r.State == spool.Pending {
				shown.Next = n.Next
			}
		}
		all = append(all, shown)
	}
	return all
}

// words are what a note says happened: the other side's reply or our own, and
// the failure behind it.
func words(n spool.Note) string {
	if n.Reply.IsZero() {
		return n.Err
	}
	reply := n.Reply.String()
	if strings.Contains(reply, n.Err) {
		return reply // it says so itself
	}
	return reply + " (" + n.Err + ")"
}

// events are the notes in their order, one for each recipient they speak of.
func (h history) events() []control.Event {
	address := make(map[spool.Key]string, len(h.snap.Recipients))
	for _, r := range h.snap.Recipients {
		address[r.Key] = r.Target.String()
	}
	var all []control.Event
	for _, n := range h.snap.Notes {
		e := control.Event{Time: n.Time, Event: n.Event, Attempt: n.Attempt, Relay: n.Relay, Err: n.Err, Next: n.Next}
		if !n.Reply.IsZero() {
			e.Reply = words(n)
		}
		if len(n.Keys) == 0 {
			all = append(all, e)
		}
		for _, k := range n.Keys {
			e.Address = address[k]
			all = append(all, e)
		}
	}
	return all
}

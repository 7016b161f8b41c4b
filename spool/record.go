package spool

import (
	"context"
	"fmt"
	"log/slog"

	"postoffice/internal/disk"
	"postoffice/internal/maillog"
	"postoffice/spool/envelope"
)

// Record says that recipients are done: Delivered, Bounced or Cancelled. It
// returns nil when that is durable. ErrInvalid changes nothing. After ErrLater
// it may be durable or not: the message hands out nobody any more, and Claim
// refuses it while this process lives (A38).
func (m *Message) Record(keys []envelope.Key, s envelope.State) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.wrap("record", m.record(keys, s))
}

func (m *Message) record(keys []envelope.Key, s envelope.State) error {
	if m.err != nil {
		return m.err
	}
	if s != envelope.Delivered && s != envelope.Bounced && s != envelope.Cancelled {
		return fmt.Errorf("%w: recorded as %v", envelope.ErrInvalid, s)
	}
	at := make([]int, 0, len(keys))
	for _, k := range keys {
		i, ok := m.known.Find(k)
		if ok {
			_, state := m.known.Slot(i)
			ok = state == envelope.Pending
		}
		if !ok {
			return fmt.Errorf("%w: recipient %v is not pending", envelope.ErrInvalid, k)
		}
		at = append(at, i)
	}
	return m.mark(at, s)
}

// mark writes the slots of the recipients at, all to s, and syncs them.
func (m *Message) mark(at []int, s envelope.State) error {
	if len(at) == 0 {
		return nil
	}
	if err := m.overwrite(at, s); err != nil {
		return m.giveUp(err)
	}
	for _, i := range at {
		m.known.Set(i, s)
	}
	return nil
}

// overwrite writes the slots at, all to s or, for 0, to what they are, and
// syncs them. Where there is no room even for that, the ballast is given up.
func (m *Message) overwrite(at []int, s envelope.State) error {
	for tries := 0; ; tries++ {
		given := m.q.ballastGiven()
		err := m.writeSlots(at, s) // written again, not only synced again (A29)
		if !disk.Full(err) || tries == roomTries || !m.q.giveBallast(given) {
			return err
		}
	}
}

// roomTries is how often room is made for one record: others take of it too.
const roomTries = 3

func (m *Message) writeSlots(rcpts []int, s envelope.State) error {
	for _, i := range rcpts {
		at, octet := m.known.Slot(i)
		if s != 0 {
			octet = s
		}
		if _, err := m.f.WriteAt([]byte{byte(octet)}, at); err != nil {
			return err
		}
	}
	return m.f.Datasync()
}

// giveUp sets the message aside: what the disk holds of it is not known.
func (m *Message) giveUp(err error) error {
	m.err = later(err)
	m.q.mu.Lock()
	m.q.aside[m.id] = err
	m.q.mu.Unlock()
	return m.err
}

func (m *Message) wrap(what string, err error) error {
	if err == nil {
		return nil
	}
	return fmt.Errorf("queue %s: %s: %w", m.id, what, err)
}

// setAside is why a message is not worked on in this process; nil: it may be.
func (q *Queue) setAside(id ID) error {
	q.mu.Lock()
	defer q.mu.Unlock()
	return q.aside[id]
}

// prove rewrites all slots with their own values and syncs them, when there is
// doubt that done could be recorded: when room is short, and for messages that
// another process may have worked on. What that one failed to sync is seen,
// but is not on the disk. No delivery is tried before (A38). The ballast may go
// for it: else a disk that copies on write, once full, kept the queue that fills
// it from ever getting shorter. Who got the queue
// lock does not know what is held, so there is doubt about all of that.
func (m *Message) prove() error {
	if m.at == Active && m.q.ours(m.id) && m.q.Room() == nil {
		return nil
	}
	if err := m.overwrite(m.slots(), 0); err != nil {
		return later(err)
	}
	return nil
}

// slots are the numbers of all recipients.
func (m *Message) slots() []int {
	all := make([]int, m.known.Len())
	for i := range all {
		all[i] = i
	}
	return all
}

// Finish removes a message whose recipients are all done, and closes it.
// The removal is not synced: a crash that undoes it finds all slots done.
func (m *Message) Finish() error {
	m.mu.Lock()
	err := m.wrap("remove", m.unlink())
	m.mu.Unlock()
	if err != nil {
		return err
	}
	if err := m.Close(); err != nil { // nothing in it is of use any more
		m.q.log.LogAttrs(context.Background(), slog.LevelWarn, "close failed", maillog.QueueID(m.id), maillog.Err(err))
	}
	return nil
}

func (m *Message) unlink() error {
	if m.err != nil {
		return m.err
	}
	if m.known.Pending() {
		return ErrPending
	}
	if err := m.q.dirs[m.at].Unlink(string(m.id)); err != nil {
		return later(err)
	}
	m.q.tally.Went(string(m.id))
	return nil
}

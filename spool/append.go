package spool

import (
	"fmt"

	"postoffice/spool/envelope"
)

// Note appends a hint. It is not synced, and an error costs nothing but the
// hint: the message can be worked on as before.
func (m *Message) Note(n envelope.Note) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.wrap("note", m.note(n))
}

func (m *Message) note(n envelope.Note) error {
	if m.err != nil {
		return m.err
	}
	line, err := m.known.AppendNote(nil, n)
	if err != nil {
		return err
	}
	if m.end+int64(len(line)) > m.known.Tail()+envelope.MaxNotes {
		return fmt.Errorf("%w: more than %d octets of notes", ErrFull, envelope.MaxNotes)
	}
	torn, err := m.torn()
	if err != nil {
		return err
	}
	if torn {
		line = append([]byte{'\n'}, line...)
	}
	return m.append(line)
}

// torn reports whether the file's last line is not whole: a crash or a full
// disk cut it, or the message itself has no line end.
func (m *Message) torn() (bool, error) {
	if m.stale {
		return true, nil
	}
	var last [1]byte
	_, err := m.f.ReadAt(last[:], m.end-1)
	return last[0] != '\n', err
}

// Expand records what a pending recipient stands for, and that it is expanded;
// its targets are among the recipients then. Of one that is expanded already
// it replaces the targets. After ErrLater the message is set aside, as with
// Record; any other error leaves the recipient as it was.
func (m *Message) Expand(parent envelope.Key, x envelope.Expansion) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.wrap("expand", m.expand(parent, x))
}

func (m *Message) expand(parent envelope.Key, x envelope.Expansion) error {
	if m.err != nil {
		return m.err
	}
	i, ok := m.known.Find(parent)
	if !ok || !expandable(m.known, i) {
		return fmt.Errorf("%w: recipient %v can't be expanded", envelope.ErrInvalid, parent)
	}
	last, _ := m.known.LastBlock()
	number := max(m.tried, last) + 1
	b, err := m.known.AppendBlock(nil, number, parent, x)
	if err != nil {
		return err
	}
	if m.end+int64(len(b)) > m.known.Tail()+envelope.MaxTail-1 {
		return fmt.Errorf("%w: expansion of %d octets", ErrFull, len(b))
	}
	m.tried = number
	if err := m.append(b); err != nil {
		return err
	}
	if err := m.f.Datasync(); err != nil {
		return m.giveUp(err)
	}
	// Only what can be read is recorded.
	if err := m.known.Extend(m.f, m.end-int64(len(b)), m.end); err != nil {
		return m.giveUp(fmt.Errorf("expansion %d: %w", number, err))
	}
	_, before := m.known.Slot(i)
	if before != envelope.Expanded {
		if err := m.mark([]int{i}, envelope.Expanded); err != nil {
			return err
		}
	}
	if err := m.known.Supersede(before != envelope.Expanded); err != nil {
		return m.giveUp(err)
	}
	return nil
}

// expandable reports whether recipient number i may get an expansion, or another.
func expandable(known *envelope.File, i int) bool {
	_, state := known.Slot(i)
	return state == envelope.Pending || state == envelope.Expanded
}

// append adds p to the end of the file.
func (m *Message) append(p []byte) error {
	if m.stale {
		info, err := m.f.Stat()
		if err != nil {
			return err
		}
		m.end, m.stale = info.Size, false
	}
	n, err := m.f.Write(p)
	m.end += int64(n)
	m.stale = err != nil
	m.q.tally.Grew(string(m.id), m.end)
	return full(err)
}

// LastBlock says which block Expand has added last, and of how many
// recipients: its keys are 0 to n-1 in it.
func (m *Message) LastBlock() (number, n int) {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.known.LastBlock()
}

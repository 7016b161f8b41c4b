package spool

import (
	"fmt"
	"slices"
)

// Note appends a hint. It is not synced, and an error costs nothing but the
// hint: the message can be worked on as before.
func (m *Message) Note(n Note) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.wrap("note", m.note(n))
}

func (m *Message) note(n Note) error {
	if m.err != nil {
		return m.err
	}
	line, err := appendNote(nil, m.c.first.check, n)
	if err != nil {
		return err
	}
	if m.c.end+int64(len(line)) > m.c.tailAt()+maxNotes {
		return fmt.Errorf("%w: more than %d octets of notes", ErrFull, maxNotes)
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
	_, err := m.f.ReadAt(last[:], m.c.end-1)
	return last[0] != '\n', err
}

// Expand records what a pending recipient stands for, and that it is expanded;
// its targets are among the recipients then. Of one that is expanded already
// it replaces the targets. After ErrLater the message is set aside, as with
// Record; any other error leaves the recipient as it was.
func (m *Message) Expand(parent Key, x Expansion) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.wrap("expand", m.expand(parent, x))
}

func (m *Message) expand(parent Key, x Expansion) error {
	if m.err != nil {
		return m.err
	}
	i := m.c.find(parent)
	if !m.c.counts(i) || m.c.rcpts[i].State != Pending && m.c.rcpts[i].State != Expanded {
		return fmt.Errorf("%w: recipient %v can't be expanded", ErrInvalid, parent)
	}
	if n := len(x.Targets); n == 0 || n > MaxRecipients-len(m.c.rcpts) {
		return fmt.Errorf("%w: expansion to %d recipients", ErrInvalid, n)
	}
	blocks := len(m.c.blocks)
	number := max(m.tried, m.c.blocks[blocks-1].number) + 1
	b, err := appendBlock(nil, m.c.first.check, number, parent, x)
	if err != nil {
		return err
	}
	if m.c.end+int64(len(b)) > m.c.tailAt()+maxTail-1 {
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
	l := newLines(m.f, m.c.end-int64(len(b)), m.c.end)
	defer l.free()
	if err := m.c.tail(l); err != nil {
		return m.giveUp(err)
	}
	if len(m.c.blocks) != blocks+1 {
		return m.giveUp(fmt.Errorf("expansion %d can't be read back", number))
	}
	first := m.c.rcpts[i].State != Expanded
	if first {
		if err := m.mark([]int{i}, Expanded); err != nil {
			return err
		}
	}
	if first && !slices.ContainsFunc(x.Targets, func(t Target) bool { return t.State == Expanded }) {
		m.c.grow()
		return nil
	}
	if err := m.c.settle(); err != nil {
		return m.giveUp(err)
	}
	return nil
}

// append adds p to the end of the file.
func (m *Message) append(p []byte) error {
	if m.stale {
		info, err := m.f.Stat()
		if err != nil {
			return err
		}
		m.c.end, m.stale = info.Size, false
	}
	n, err := m.f.Write(p)
	m.c.end += int64(n)
	m.stale = err != nil
	return full(err)
}

// LastBlock says which block Expand has added last, and of how many
// recipients: its keys are 0 to n-1 in it.
func (m *Message) LastBlock() (number, n int) {
	m.mu.Lock()
	defer m.mu.Unlock()
	b := m.c.blocks[len(m.c.blocks)-1]
	return b.number, b.n
}

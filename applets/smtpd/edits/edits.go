package edits

import (
	"fmt"
	"io"
	"slices"
	"strings"

	"postoffice/internal/message"
	"postoffice/internal/smtp"
)

// maxOctets is what all changes of a message together may hold in memory, in octets: a
// header that a filter makes is no longer than that.
const maxOctets = 1 << 20

// perRcpt is what there is more for each recipient: an address has 320 octets at most.
const perRcpt = 320 + each

// Edits are what filters have made of a message. The zero Edits change nothing.
type Edits struct {
	// Sender takes the place of the reverse-path; nil: it stays.
	Sender *Sender
	// Body takes the place of the body; nil: it stays.
	Body Body
	// For is how many recipients the message has: there is room to change each.
	For int

	fields     []field
	recipients []recipient
	added      int // recipients
	octets     int
}

// A Sender is a reverse-path with its parameters.
type Sender struct {
	Path   smtp.Path
	Params []smtp.Param
}

// Merge returns the parameters of a message whose sender was changed: those that were
// given take the place of those of the same name.
func (s *Sender) Merge(old []smtp.Param) []smtp.Param {
	if len(s.Params) == 0 {
		return old
	}
	all := slices.Clone(old)
	for _, p := range s.Params {
		all = slices.DeleteFunc(all, func(o smtp.Param) bool { return o.Name == p.Name })
	}
	return append(all, s.Params...)
}

// A Body is what stands behind a header and its empty line: lines that end in LF.
type Body interface {
	io.ReaderAt
	Size() int64
}

type change uint8

const (
	add change = iota
	insert
	replace
	remove
)

// field is a change of the header.
type field struct {
	do          change
	n           int // the index of insert; which of its name
	name, value string
}

type recipient struct {
	smtp.Recipient
	gone bool
}

// Any reports whether there is a change.
func (e *Edits) Any() bool {
	return e != nil && (e.Sender != nil || e.Body != nil || len(e.fields)+len(e.recipients) > 0)
}

// Add puts a field at the header's end. A value is what stands behind the colon, the
// blank there included.
func (e *Edits) Add(name, value string) error {
	return e.field(field{do: add, name: name, value: value})
}

// Insert puts a field in front of the one with this index, 0 being the first of the
// message, our own trace field counted; at the header's end if there are not so many.
func (e *Edits) Insert(index int, name, value string) error {
	return e.field(field{do: insert, n: max(index, 0), name: name, value: value})
}

// Spam adds the field X-Spam behind the first one, which is our own trace field.
func (e *Edits) Spam(reason string) error {
	return e.Insert(1, "X-Spam", " "+smtp.Printable(reason, maxSpam))
}

// maxSpam bounds the reason in X-Spam: a line of a header has 998 octets at most.
const maxSpam = 300

// Change gives the n-th field of this name, counted from 1, another value, and adds it if
// there are not so many.
func (e *Edits) Change(name string, n int, value string) error {
	return e.field(field{do: replace, n: n, name: name, value: value})
}

// Delete removes the n-th field of this name, counted from 1, if there are so many.
func (e *Edits) Delete(name string, n int) error {
	return e.field(field{do: remove, n: n, name: name})
}

func (e *Edits) field(f field) error {
	if err := message.CheckName(f.name); err != nil {
		return err
	}
	f.value = strings.ReplaceAll(f.value, "\r\n", "\n")
	if err := message.CheckValue(f.value); err != nil {
		return fmt.Errorf("field %s: %w", f.name, err)
	}
	if f.do == replace || f.do == remove {
		if f.n < 1 {
			return fmt.Errorf("field %s: its number is %d, they count from 1", f.name, f.n)
		}
	}
	if err := e.grow(len(f.name) + len(f.value)); err != nil {
		return err
	}
	e.fields = append(e.fields, f)
	return nil
}

// each is what a change costs beside its text, in octets.
const each = 64

func (e *Edits) grow(n int) error {
	most := maxOctets + e.For*perRcpt
	if n += each; e.octets+n > most {
		return fmt.Errorf("the changes of one message have more than %d octets", most)
	}
	e.octets += n
	return nil
}

// AddRecipient has one more get the message, once.
func (e *Edits) AddRecipient(r smtp.Recipient) error {
	return e.recipient(recipient{r, false})
}

// Added is how many recipients were added, those that were there already included.
func (e *Edits) Added() int { return e.added }

// DeleteRecipient has one not get the message.
func (e *Edits) DeleteRecipient(p smtp.Path) error {
	return e.recipient(recipient{smtp.Recipient{Path: p}, true})
}

func (e *Edits) recipient(r recipient) error {
	n := len(r.Path.Local) + len(r.Path.Domain)
	for _, p := range r.Params {
		n += len(p.Name) + len(p.Value)
	}
	if err := e.grow(n); err != nil {
		return err
	}
	e.recipients = append(e.recipients, r)
	if !r.gone {
		e.added++
	}
	return nil
}

// Recipients returns who gets the message of these after all changes; nobody, if all
// were taken away.
func (e *Edits) Recipients(all []smtp.Recipient) []smtp.Recipient {
	if len(e.recipients) == 0 {
		return all
	}
	all = slices.Clone(all)
	type key struct{ local, domain string } // domains in whatever case
	keyOf := func(p smtp.Path) key { return key{p.Local, smtp.Fold(p.Domain)} }
	at := map[key][]int{} // where each is in all
	gone := map[int]bool{}
	for i, r := range all {
		at[keyOf(r.Path)] = append(at[keyOf(r.Path)], i)
	}
	for _, r := range e.recipients {
		k := keyOf(r.Path)
		switch {
		case r.gone:
			for _, i := range at[k] {
				gone[i] = true
			}
			delete(at, k)
		case at[k] == nil:
			at[k] = []int{len(all)}
			all = append(all, r.Recipient)
		}
	}
	left := all[:0]
	for i, r := range all {
		if !gone[i] {
			left = append(left, r)
		}
	}
	return left
}

package message

import (
	"bufio"
	"errors"
	"iter"
	"slices"
	"strings"
)

// ErrTooLong is a header that is longer than its reader wants to hold.
var ErrTooLong = errors.New("the header is too long")

// A Header is a header held in memory: its fields in their order, each with
// its folded lines and its last line end.
type Header []string

// ReadHeader takes a header of at most limit octets from the front of r, and
// leaves r where Fields does. The error is ErrTooLong or the source's.
func ReadHeader(r *bufio.Reader, limit int) (Header, error) {
	var h Header
	fr := fieldReader{r: r, limit: limit}
	for f, err := range fr.all {
		if err != nil {
			return nil, err
		}
		if f.Cut {
			return nil, ErrTooLong
		}
		fr.limit -= len(f.Text)
		h = append(h, string(f.Text))
	}
	return h, nil
}

// Has says whether there is a field with this name.
func (h Header) Has(name string) bool {
	for range h.Values(name) {
		return true
	}
	return false
}

// Without is the header less the fields with these names.
func (h Header) Without(names ...string) Header {
	var rest Header
	for _, field := range h {
		if !isOne(field, names) {
			rest = append(rest, field)
		}
	}
	return rest
}

// Values gives what stands behind the colon in each field that has one of
// these names.
func (h Header) Values(names ...string) iter.Seq[string] {
	return func(yield func(string) bool) {
		for _, field := range h {
			if _, value, _ := strings.Cut(field, ":"); isOne(field, names) && !yield(value) {
				return
			}
		}
	}
}

// String is the header as text.
func (h Header) String() string { return strings.Join(h, "") }

func isOne(field string, names []string) bool {
	name, _, _ := strings.Cut(field, ":")
	name = strings.TrimRight(name, " \t")
	return slices.ContainsFunc(names, func(n string) bool { return same(n, name) })
}

package alias

import (
	"bufio"
	"cmp"
	"errors"
	"fmt"
	"io"
	"iter"
	"strings"
)

// record is an entry whose value is not yet parsed.
type record struct {
	name  string
	value string
	line  int
	err   error // why the value is in doubt
}

func (r record) entry() (Entry, error) {
	if r.err != nil {
		return Entry{}, &SyntaxError{r.line, r.name, r.err}
	}
	targets, err := ParseValue(r.value)
	if err != nil {
		return Entry{}, &SyntaxError{r.line, r.name, err}
	}
	return Entry{Name: r.name, Line: r.line, Targets: targets}, nil
}

// split yields logical lines: a line that begins with a blank continues the
// one before; comment and empty lines belong to none. One that begins with a
// blank and reads like an alias is in doubt, and so is the one that it continues.
func split(r io.Reader) iter.Seq2[record, error] {
	return func(yield func(record, error) bool) {
		var text strings.Builder
		var doubt error // about the line that text is of
		start, n := 0, 0
		flush := func() bool {
			defer text.Reset()
			if text.Len() == 0 {
				return true
			}
			rec, err := splitName(text.String(), start)
			rec.err, doubt = doubt, nil
			return yield(rec, err)
		}
		in := withoutMark(r)
		for {
			line, err := in.ReadString('\n')
			n++
			line = strings.TrimRight(line, "\r\n")
			trimmed := strings.TrimLeft(line, " \t")
			switch {
			case trimmed == "" || trimmed[0] == '#':
			case len(trimmed) < len(line) && text.Len() > 0 && readsLikeAlias(text.String(), trimmed):
				doubt = cmp.Or(doubt, fmt.Errorf("line %d begins with a blank and would continue this alias, but reads like one of its own: take the blank away", n))
				if !flush() {
					return
				}
				doubt = errors.New("the line begins with a blank, so it would continue the alias above it: take the blank away")
				start = n
				text.WriteString(trimmed)
			case len(trimmed) < len(line) && text.Len() > 0:
				text.WriteByte(' ')
				text.WriteString(trimmed)
			case !flush():
				return
			default:
				start = n
				text.WriteString(trimmed)
			}
			if err != nil {
				if flush() && err != io.EOF {
					yield(record{}, err)
				}
				return
			}
		}
	}
}

// readsLikeAlias reports whether a line that continues another one looks like an alias,
// NAME: and so on. What stands within quotes or parentheses never does, and nothing that
// a target may begin with.
func readsLikeAlias(before, line string) bool {
	if _, err := splitCommas(before); err != nil {
		return false
	}
	if _, rest, quoted := unquote(line); quoted {
		return strings.HasPrefix(strings.TrimLeft(rest, " \t"), ":")
	}
	name, _, ok := strings.Cut(line, ":")
	name = strings.TrimRight(name, " \t")
	return ok && name != "" && name[0] != '-' && !strings.ContainsAny(name, " \t\"\\,;|/@<>()[]")
}

// withoutMark reads a text behind the byte order mark that some editors put in
// front of it.
func withoutMark(r io.Reader) *bufio.Reader {
	const mark = "\ufeff"
	in := bufio.NewReader(r)
	if start, err := in.Peek(len(mark)); err == nil && string(start) == mark {
		in.Discard(len(mark)) // it is in the buffer
	}
	return in
}

// splitName takes the name off a logical line.
func splitName(text string, line int) (record, error) {
	bad := func(words string) (record, error) {
		return record{}, &SyntaxError{Line: line, Err: errors.New(words)}
	}
	var name, rest string
	if text[0] == '"' {
		var ok bool
		if name, rest, ok = unquote(text); !ok {
			return bad("a quote that does not end")
		}
	} else {
		i := strings.IndexByte(text, ':')
		if i < 0 {
			return bad("want name: targets")
		}
		name, rest = strings.TrimRight(text[:i], " \t"), text[i:]
	}
	rest, ok := strings.CutPrefix(strings.TrimLeft(rest, " \t"), ":")
	switch {
	case !ok:
		return bad("want a colon behind the name")
	case name == "":
		return bad("want a name before the colon")
	case hasControl(name):
		return bad("a control octet in the name")
	}
	return record{name: name, value: strings.Trim(rest, " \t"), line: line}, nil
}

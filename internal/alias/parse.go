package alias

import (
	"errors"
	"fmt"
	"io"
	"iter"
	"strings"

	"postoffice/internal/smtp"
)

// An Entry is one alias: its name, where it stands, and what it stands for.
type Entry struct {
	Name    string
	Line    int // of the name, counted from 1
	Targets []Target
	File    string // "": that of the Aliases
}

// String returns e as one line of an alias file.
func (e Entry) String() string { return quoteWord(e.Name) + ": " + e.Value() }

// Value returns e's targets as they may stand behind the colon.
func (e Entry) Value() string {
	words := make([]string, len(e.Targets))
	for i, t := range e.Targets {
		words[i] = t.String()
	}
	return strings.Join(words, ", ")
}

// A SyntaxError is a line that can't be understood. Name is "" if not even
// the alias's name could be read.
type SyntaxError struct {
	Line int
	Name string
	Err  error
}

func (e *SyntaxError) Error() string {
	if e.Name == "" {
		return fmt.Sprintf("line %d: %v", e.Line, e.Err)
	}
	return fmt.Sprintf("line %d: alias %s: %v", e.Line, e.Name, e.Err)
}

func (e *SyntaxError) Unwrap() error { return e.Err }

// Read reads an alias file entry by entry, in constant memory. A *SyntaxError
// is about one line, and reading goes on behind it; any other error ends it.
func Read(r io.Reader) iter.Seq2[Entry, error] {
	return func(yield func(Entry, error) bool) {
		for rec, err := range split(r) {
			var e Entry
			if err == nil {
				e, err = rec.entry()
			}
			if !yield(e, err) {
				return
			}
		}
	}
}

// Parse reads a whole alias file. It returns all entries that can be
// understood, in their order, and the errors of the lines that can't.
func Parse(r io.Reader) ([]Entry, []error) {
	var entries []Entry
	var errs []error
	for e, err := range Read(r) {
		if err != nil {
			errs = append(errs, err)
			continue
		}
		entries = append(entries, e)
	}
	return entries, errs
}

// ParseValue parses the comma-separated targets of an alias.
func ParseValue(value string) ([]Target, error) {
	var targets []Target
	if hasControl(value) {
		return nil, errors.New("a control octet")
	}
	items, err := splitCommas(value)
	if err != nil {
		return nil, err
	}
	for _, item := range items {
		t, err := parseTarget(item)
		if err != nil {
			return nil, err
		}
		targets = append(targets, t)
	}
	if len(targets) == 0 {
		return nil, errors.New("no targets")
	}
	return targets, nil
}

// splitCommas splits at commas outside quotes and comments, which it takes
// away; empty items vanish.
func splitCommas(value string) ([]string, error) {
	var items []string
	var item strings.Builder
	quoted, depth := false, 0
	end := func() {
		if s := strings.Trim(item.String(), " \t"); s != "" {
			items = append(items, s)
		}
		item.Reset()
	}
	for i := 0; i < len(value); i++ {
		c := value[i]
		program := strings.HasPrefix(strings.TrimLeft(item.String(), " \t"), "|")
		switch {
		case c == '\\' && i+1 < len(value):
			i++
			if depth == 0 {
				item.WriteByte(c)
				item.WriteByte(value[i])
			}
			continue
		case c == '"' && depth == 0:
			quoted = !quoted
		case quoted:
		case c == '(' && !program:
			depth++
			continue
		case c == ')' && depth > 0:
			depth--
			continue
		case c == ',' && depth == 0:
			end()
			continue
		}
		if depth == 0 {
			item.WriteByte(c)
		}
	}
	end()
	switch {
	case quoted:
		return nil, errors.New("a quote that does not end")
	case depth > 0:
		return nil, errors.New("a comment that does not end")
	}
	return items, nil
}

// parseTarget understands one item of a value.
func parseTarget(item string) (Target, error) {
	if word, rest, ok := unquote(item); ok && rest == "" {
		if t, ok := special(word); ok {
			return t, nil
		}
		if strings.HasPrefix(word, `\`) {
			return mailbox(word[1:])
		}
		return address(item)
	}
	switch item[0] {
	case '|', '/', ':':
		if t, ok := special(item); ok {
			return t.unquoted()
		}
		if item[0] == ':' { // Exim has more of that kind
			return Target{}, fmt.Errorf("%q names nothing: only :include:/path begins so; write /dev/null for mail that nobody wants", item)
		}
		return Target{}, fmt.Errorf("%q names nothing", item)
	case '\\':
		if strings.ContainsAny(item, " \t\"<>@") {
			return Target{}, fmt.Errorf("%q is no name of an account", item)
		}
		return mailbox(unescape(item[1:]))
	}
	if i := strings.IndexByte(item, '<'); i >= 0 && strings.HasSuffix(item, ">") {
		item = item[i+1 : len(item)-1] // Full Name <address>
	}
	return address(item)
}

// looksSpecial says that a bare name could be read as something else.
func looksSpecial(s string) bool {
	return s == "" || strings.Contains(`|/\:`, s[:1])
}

// special recognises what is no address.
func special(s string) (Target, bool) {
	t := Target{Kind: Address}
	switch {
	case strings.HasPrefix(s, "|"):
		t = Target{Kind: Program, Text: strings.Trim(s[1:], " \t")}
	case strings.HasPrefix(s, "/"):
		t = Target{Kind: File, Text: s}
	case len(s) > 9 && smtp.EqualFold(s[:9], ":include:"):
		t = Target{Kind: Include, Text: strings.Trim(s[9:], " \t")}
	}
	return t, t.Kind != Address && t.Text != ""
}

// unquoted takes the quotes from :include:"/a b" and |"prog args"; a file
// without quotes has none.
func (t Target) unquoted() (Target, error) {
	if t.Text[0] == '"' {
		text, rest, ok := unquote(t.Text)
		if !ok || rest != "" && t.Kind != Program {
			return t, fmt.Errorf("%q: text behind the closing quote", t.Text)
		}
		if rest == "" {
			t.Text = text
		}
	} else if t.Kind != Program {
		t.Text = unescape(t.Text)
	}
	if t.Text = strings.Trim(t.Text, " \t"); t.Text == "" {
		return t, errors.New("a target without text")
	}
	return t, nil
}

func mailbox(name string) (Target, error) {
	if name == "" {
		return Target{}, errors.New(`\ without a name`)
	}
	return Target{Kind: Mailbox, Path: smtp.Path{Local: name}}, nil
}

func address(s string) (Target, error) {
	p, err := smtp.ParseWritten(s)
	if err != nil {
		return Target{}, fmt.Errorf("%q is no address: %w", s, err)
	}
	if p.Domain == "" && strings.Contains(p.Local, "/") && !strings.HasPrefix(p.Local, "/") {
		return Target{}, fmt.Errorf("%q is no address, and no file either: a file's path begins with a slash, and nothing stands for a home directory", s)
	}
	if p.IsNull() || p.Domain == "" && looksSpecial(p.Local) {
		return Target{}, fmt.Errorf("%q is no address", s)
	}
	return Target{Kind: Address, Path: p}, nil
}

// unquote takes a quoted string off the front of s.
func unquote(s string) (text, rest string, ok bool) {
	if s == "" || s[0] != '"' {
		return "", s, false
	}
	for i := 1; i < len(s); i++ {
		switch s[i] {
		case '\\':
			i++
		case '"':
			return unescape(s[1:i]), s[i+1:], true
		}
	}
	return "", s, false
}

// unescape drops each backslash and takes the octet behind it.
func unescape(s string) string {
	if !strings.Contains(s, `\`) {
		return s
	}
	var b strings.Builder
	for i := 0; i < len(s); i++ {
		if s[i] == '\\' && i+1 < len(s) {
			i++
		}
		b.WriteByte(s[i])
	}
	return b.String()
}

// hasControl reports an octet that may not stand in a line of text; a tab
// may.
func hasControl(s string) bool {
	for i := 0; i < len(s); i++ {
		if c := s[i]; c < ' ' && c != '\t' || c == 0x7f {
			return true
		}
	}
	return false
}

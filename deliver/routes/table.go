package routes

import (
	"log/slog"
	"slices"
	"strings"

	"postoffice/internal/smarthost"
	"postoffice/internal/smtp"
	"postoffice/internal/watched"
)

// A Way is what a line says.
type Way struct {
	Host  smarthost.Host
	Local bool   // it stays on this machine
	Error string // it comes back with these words
	Line  int    // of the file, counted from 1
}

// A Table is the file as it is now.
type Table struct {
	log  *slog.Logger
	file watched.File[lines]
}

// New returns the Table of a file; nil where there is none.
func New(file string, log *slog.Logger) *Table {
	if file == "" {
		return nil
	}
	t := &Table{log: log}
	t.file.Path, t.file.Most, t.file.Missed, t.file.Must = file, maxFile, missed, true
	return t
}

const missed = "mail that isn't for this machine waits until it can be read"

// Check tells of the lines of a file that can't be understood, with their numbers. The
// error says why the file can't be read, what that means and what to do.
func Check(file string, tell func(line int, what string)) error {
	text, err := watched.Check(file, maxFile, missed, true)
	if err == nil {
		parse(text, tell)
	}
	return err
}

// Logins are the lines of the file whose hosts want a login, in their order, of those with
// one host and user the first. The error says why the file can't be read.
func Logins(file string) ([]Way, error) {
	text, err := watched.Check(file, maxFile, missed, true)
	if err != nil {
		return nil, err
	}
	var all []Way
	for _, w := range parse(text, func(int, string) {}) {
		if w.Host.User != "" {
			all = append(all, w)
		}
	}
	slices.SortFunc(all, func(a, b Way) int { return a.Line - b.Line })
	seen := map[string]bool{}
	return slices.DeleteFunc(all, func(w Way) bool {
		twice := seen[w.Host.String()]
		seen[w.Host.String()] = true
		return twice
	}), nil
}

// Path is that of the file, "" where there is none.
func (t *Table) Path() string {
	if t == nil {
		return ""
	}
	return t.file.Path
}

// now is what the file says.
func (t *Table) now() lines {
	l, _ := t.read()
	return l
}

// Known reports whether it is known what the file says; if not, where mail goes isn't
// known either.
func (t *Table) Known() bool {
	_, known := t.read()
	return known
}

func (t *Table) read() (lines, bool) {
	if t == nil {
		return nil, true
	}
	return t.file.Get(func(text string) lines { return parse(text, t.tell) }, func(err error, advice string) {
		t.tell(0, err.Error()+": "+advice)
	})
}

// Domain returns the line that names a domain, or one above it.
func (t *Table) Domain(domain string) (Way, bool) { return t.now().domain(domain) }

// Find returns the line for mail from a sender to a domain. named says that it names the
// domain.
func (t *Table) Find(sender smtp.Path, domain string) (w Way, named, ok bool) {
	l := t.now()
	if l == nil {
		return Way{}, false, false
	}
	if w, ok := l.sender(sender); ok {
		return w, false, true
	}
	if w, ok := l.domain(domain); ok {
		return w, true, true
	}
	w, ok = l[all]
	return w, false, ok
}

// lines are by key: fromKey and an address, or @ and a domain; a domain; a dot and a
// domain; all.
type lines map[string]Way

const (
	fromKey = "from:"
	all     = "*"
)

// sender returns the line of a sender: its address's, or its domain's.
func (l lines) sender(p smtp.Path) (Way, bool) {
	if w, ok := l[fromKey+smtp.Fold(p.String())]; ok {
		return w, true
	}
	if p.IsNull() {
		return Way{}, false
	}
	w, ok := l[fromKey+"@"+smtp.Fold(p.Domain)]
	return w, ok
}

// domain returns the line of a domain, else of the nearest one above that has a dot in
// front.
func (l lines) domain(domain string) (Way, bool) {
	domain = smtp.DomainKey(domain)
	if domain == "" || len(l) == 0 {
		return Way{}, false
	}
	if w, ok := l[domain]; ok {
		return w, true
	}
	for i := strings.IndexByte(domain, '.'); i >= 0; {
		domain = domain[i+1:]
		if w, ok := l["."+domain]; ok {
			return w, true
		}
		i = strings.IndexByte(domain, '.')
	}
	return Way{}, false
}

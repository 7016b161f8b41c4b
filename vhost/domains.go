package vhost

import (
	"bytes"
	"crypto/sha256"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"syscall"

	"postoffice/internal/disk"
	"postoffice/internal/smtp"
)

// DomainsFile is the name of the list of domains below the directory of virtual
// domains.
const DomainsFile = "domains.cf"

const (
	maxDomains = 16 << 20 // octets of domains.cf
	maxProblem = 20       // lines that are told of
)

// A Domain is a line of domains.cf.
type Domain struct {
	Name   string // in small letters, with A-labels: the name of its directory, too
	Owner  string // the account to which the directory belongs
	Active bool
	Line   int   // counted from 1
	Err    error // why the line can't be understood, while it names the domain
}

// Domains is the file domains.cf. It is read at the first question and again when it
// has changed. Any number of goroutines may use it.
type Domains struct {
	path string

	mu   sync.Mutex // guards what follows
	seen disk.Version
	list *domainList // nil: not read yet, or it can't be
}

// domainList is one reading of the file; it never changes.
type domainList struct {
	sum      [sha256.Size]byte // of the text
	byName   map[string]Domain
	problems []error // what is wrong with lines
	more     int     // further ones
}

// OpenDomains returns the domains of a directory of virtual domains.
func OpenDomains(dir string) *Domains { return &Domains{path: filepath.Join(dir, DomainsFile)} }

// Path is that of the file.
func (d *Domains) Path() string { return d.path }

// Find returns the domain called name, as Key gives it. ok is false where there is
// none, or it is not active. An error means that it isn't known now.
func (d *Domains) Find(name string) (found Domain, ok bool, err error) {
	list, err := d.current()
	if err != nil {
		return found, false, err
	}
	found, ok = list.byName[name]
	switch {
	case !ok:
		return found, false, nil
	case found.Err != nil:
		return found, false, fmt.Errorf("%s:%d: %w", d.path, found.Line, found.Err)
	}
	return found, found.Active, nil
}

// Active are the names of active domains, in the order of letters.
func (d *Domains) Active() ([]string, error) {
	list, err := d.current()
	if err != nil {
		return nil, err
	}
	var all []string
	for name, found := range list.byName {
		if found.Active && found.Err == nil {
			all = append(all, name)
		}
	}
	slices.Sort(all)
	return all, nil
}

// Any reports whether the file names a domain.
func (d *Domains) Any() bool {
	list, err := d.current()
	return err != nil || len(list.byName) > 0
}

// Problem returns what is wrong with the file, nil if nothing is.
func (d *Domains) Problem() error {
	list, err := d.current()
	if err != nil {
		return err
	}
	all := make([]error, 0, len(list.problems)+1)
	for _, err := range list.problems {
		all = append(all, fmt.Errorf("%s:%w", d.path, err))
	}
	if list.more > 0 {
		all = append(all, fmt.Errorf("%s: %d more lines can't be understood", d.path, list.more))
	}
	return errors.Join(all...)
}

// current returns the list as it is now: an empty one where there is no file.
func (d *Domains) current() (*domainList, error) {
	d.mu.Lock()
	defer d.mu.Unlock()
	info, err := os.Stat(d.path)
	if errors.Is(err, fs.ErrNotExist) {
		d.list, d.seen = &domainList{}, disk.Version{}
		return d.list, nil
	}
	if err == nil && d.list != nil && d.seen.Is(disk.InfoOf(info)) {
		return d.list, nil
	}
	before := d.list
	d.list = nil
	if err == nil {
		d.list, d.seen, err = readDomains(d.path, before)
	}
	if err != nil {
		return nil, fmt.Errorf("read the virtual domains: %w", err)
	}
	return d.list, nil
}

// readDomains reads the file whole. One that changes meanwhile is an error. Where it says
// what it said before, that reading is returned: one that is new is read for each question
// for a while.
func readDomains(path string, last *domainList) (*domainList, disk.Version, error) {
	f, err := os.OpenFile(path, os.O_RDONLY|syscall.O_NONBLOCK, 0)
	if err != nil {
		return nil, disk.Version{}, err
	}
	defer f.Close()
	before, err := f.Stat()
	if err != nil {
		return nil, disk.Version{}, err
	}
	seen := disk.VersionOf(disk.InfoOf(before))
	switch {
	case !before.Mode().IsRegular():
		return nil, seen, fmt.Errorf("%s is no regular file: put one in its place", path)
	case before.Size() > maxDomains:
		return nil, seen, fmt.Errorf("%s has %d octets, at most %d are read", path, before.Size(), maxDomains)
	}
	text, err := io.ReadAll(io.LimitReader(f, maxDomains+1))
	if err != nil {
		return nil, seen, err
	}
	after, err := f.Stat()
	if err == nil && (int64(len(text)) != before.Size() || !disk.InfoOf(after).Unchanged(disk.InfoOf(before))) {
		err = fmt.Errorf("%s changed while it was read", path)
	}
	sum := sha256.Sum256(text)
	if err == nil && last != nil && last.sum == sum {
		return last, seen, nil
	}
	list := parseDomains(text)
	list.sum = sum
	return list, seen, err
}

func parseDomains(text []byte) *domainList {
	list := &domainList{byName: map[string]Domain{}}
	n := 0
	for line := range bytes.Lines(bytes.TrimPrefix(text, mark)) {
		n++
		d, ok := parseDomain(strings.TrimRight(string(line), "\r\n"))
		if !ok {
			continue
		}
		d.Line = n
		err := d.Err
		first, twice := list.byName[d.Name]
		if twice {
			err = fmt.Errorf("%s stands in line %d already, which counts", d.Name, first.Line)
		} else if d.Name != "" {
			list.byName[d.Name] = d
		}
		switch {
		case err == nil:
		case len(list.problems) < maxProblem:
			list.problems = append(list.problems, fmt.Errorf("%d: %w", n, err))
		default:
			list.more++
		}
	}
	return list
}

// parseDomain reads a line owner:domain:active:comment, of which the last may be
// missing. ok is false for lines that say nothing: empty ones and those that begin
// with "#" (B76). A Domain with an Err has no Name where the line has none that can
// be read.
func parseDomain(line string) (d Domain, ok bool) {
	text := strings.Trim(line, " \t")
	if text == "" || text[0] == '#' {
		return d, false
	}
	f := strings.SplitN(text, ":", 4)
	for i := range f[:min(len(f), 3)] {
		f[i] = strings.Trim(f[i], " \t")
	}
	d.Owner = f[0]
	if len(f) > 1 {
		d.Name, d.Err = Key(f[1])
	}
	switch {
	case len(f) < 3:
		d.Err = errors.New("want owner:domain:active:comment")
	case d.Err != nil:
	case d.Owner == "":
		d.Err = errors.New("the owner is missing, want owner:domain:active:comment")
	case f[2] == "" || strings.Trim(f[2], "0123456789") != "":
		d.Err = fmt.Errorf("active is %q, want 1, or 0 for a domain that is not served", smtp.Printable(f[2], 40))
	}
	d.Active = strings.Trim(f[min(2, len(f)-1)], "0") != "" && d.Err == nil
	return d, true
}

// Key returns the form in which domains are compared: small letters and A-labels
// (RFC 5890). It is one element of a path.
func Key(domain string) (string, error) {
	bad := func(why string) (string, error) {
		return "", fmt.Errorf("%q can't be a virtual domain: %s", smtp.Printable(domain, 255), why)
	}
	if len(domain) > 255 || strings.ContainsAny(domain, "[]/@ \t\"\\") {
		return bad("want a name such as example.org")
	}
	p, err := smtp.ParseWritten("x@" + domain)
	if err != nil {
		return bad(err.Error())
	}
	key := smtp.DomainKey(p.Domain)
	switch {
	case key == "" || key[0] == '.' || key[0] == '-' || strings.Trim(key, "abcdefghijklmnopqrstuvwxyz0123456789.-_") != "":
		return bad("want letters, digits, hyphens and dots")
	case key == "localhost" || key == DomainsFile:
		return bad("that name has another meaning")
	}
	return key, nil
}

package alias

import (
	"errors"
	"fmt"
	"strings"
)

// A Usermap is the option usermap: names that are neither aliases nor accounts
// (usermap(7)). It never changes.
type Usermap struct{ entries []mapEntry }

// mapEntry is one pattern and where its names lead.
type mapEntry struct {
	text    string
	pattern string // "" where the text has none that can be understood
	files   []string
	then    *Target // an Address whose Local is "" stands for the user that ~ named
	err     error   // why names that it matches are not known now
}

// A Mapping is what a name was found to stand for.
type Mapping struct {
	Entry string   // as it is configured
	User  string   // the account that ~ named, "" if the pattern has none
	Files []string // alias files in User's home directory, relative to it: the first that lists the name decides
	Then  *Target  // what the name stands for where no file lists it; nil: nothing
}

// ParseUsermap understands the entries, each pattern:target,target…. The error
// joins what is wrong with them, each with its text, and the Usermap is good
// all the same: what a wrong entry may match is answered with its error, since
// it is not known to be nobody (A36).
func ParseUsermap(entries []string) (*Usermap, error) {
	u := &Usermap{}
	var errs []error
	for _, text := range entries {
		e := parseMapEntry(text)
		if e.err != nil {
			e.err = fmt.Errorf("usermap %s: %w", text, e.err)
			errs = append(errs, e.err)
		}
		u.entries = append(u.entries, e)
	}
	return u, errors.Join(errs...)
}

func parseMapEntry(text string) mapEntry {
	e := mapEntry{text: text}
	pattern, value, ok := strings.Cut(text, ":")
	switch {
	case !ok || pattern == "":
		e.err = errors.New("want pattern:target,target…")
		return e
	case strings.Count(pattern, "~") > 1:
		e.err = errors.New("want ~ once in the pattern, at most")
		return e
	case strings.Count(pattern, "*") > maxStars:
		e.err = fmt.Errorf("want * at most %d times in the pattern", maxStars)
		return e
	}
	e.pattern = pattern
	e.err = e.parseTargets(value)
	return e
}

// maxStars bounds the work of a match: each * multiplies it by the name's
// length.
const maxStars = 3

// parseTargets takes the targets up to the first that always yields something.
func (e *mapEntry) parseTargets(value string) error {
	if hasControl(value) {
		return errors.New("a control octet")
	}
	items, err := splitCommas(value)
	if err != nil {
		return err
	}
	if len(items) == 0 {
		return errors.New("no targets")
	}
	for _, item := range items {
		file, isFile := strings.CutPrefix(item, "~/")
		if (isFile || item == "~") && !strings.Contains(e.pattern, "~") {
			return fmt.Errorf("target %s needs a ~ in the pattern, which says whose it is", item)
		}
		switch {
		case e.then != nil: // behind what always yields
		case isFile && !goodFile(file):
			return fmt.Errorf("target %s is no file in a home directory", item)
		case isFile:
			e.files = append(e.files, file)
		case item == "~":
			e.then = &Target{}
		default:
			t, err := parseTarget(item)
			if err != nil {
				return err
			}
			if t.Kind == Include {
				return fmt.Errorf("target %s: only the alias file may name a list", item)
			}
			e.then = &t
		}
	}
	return nil
}

// goodFile says whether a path stays below the home directory.
func goodFile(path string) bool {
	for part := range strings.SplitSeq(path, "/") {
		if part == "" || part == "." || part == ".." {
			return false
		}
	}
	return true
}

// Match finds the first entry whose pattern matches name; ok is false if none
// does. user finds an account and says how it is spelt; its error means that
// the answer is not known now.
func (u *Usermap) Match(name string, user func(name string) (account string, ok bool, err error)) (m Mapping, ok bool, err error) {
	if u == nil || name == "" {
		return m, false, nil
	}
	for _, e := range u.entries {
		if e.pattern == "" {
			return m, false, e.err
		}
		x := matcher{user: user}
		if !x.match(e.pattern, name) {
			if x.err != nil {
				return m, false, x.err
			}
			continue
		}
		if e.err != nil {
			return m, false, e.err
		}
		m = Mapping{Entry: e.text, User: x.account, Files: e.files, Then: e.then}
		if t := e.then; t != nil && t.Kind == Address && t.Path.Local == "" {
			m.Then = &Target{}
			m.Then.Path.Local = x.account
		}
		return m, true, nil
	}
	return m, false, nil
}

// matcher is one attempt to match a pattern.
type matcher struct {
	user    func(string) (string, bool, error)
	account string // that ~ named
	err     error
}

// match matches all of name. * takes as much as it can; ~ takes all
// alphanumerics that come next, and they must be a user. A * at the end needs
// one octet, elsewhere none.
func (x *matcher) match(pattern, name string) bool {
	if pattern == "" {
		return name == ""
	}
	rest := pattern[1:]
	switch pattern[0] {
	case '*':
		least := 0
		if rest == "" {
			least = 1
		}
		for n := len(name); n >= least && x.err == nil; n-- {
			if x.match(rest, name[n:]) {
				return true
			}
		}
		return false
	case '~':
		n := 0
		for n < len(name) && alphanumeric(name[n]) {
			n++
		}
		return n > 0 && x.match(rest, name[n:]) && x.isUser(name[:n])
	}
	return name != "" && name[0] == pattern[0] && x.match(rest, name[1:])
}

func (x *matcher) isUser(name string) bool {
	account, ok, err := x.user(name)
	x.account, x.err = account, err
	return ok && err == nil
}

func alphanumeric(c byte) bool {
	return 'a' <= c && c <= 'z' || 'A' <= c && c <= 'Z' || '0' <= c && c <= '9'
}

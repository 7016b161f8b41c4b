package vhost

import (
	"bytes"
	"errors"
	"fmt"
	"slices"
	"strings"

	"postoffice/internal/smtp"
)

// What keeps a change of a list from being made.
var (
	ErrExists  = errors.New("it is there already")
	ErrMissing = errors.New("it is not there")
)

// A Secret is what stands in a passwd file for a password.
type Secret struct {
	Hash     string
	Verifier string // of SCRAM, "" none
}

const (
	extraField = 6        // behind the name, where Dovecot has what is not passwd(5)'s
	scramWord  = "scram=" // begins the word there that is a verifier
	closedMark = "!"      // before a hash, and before scramWord, of who can't log in
	closedWord = closedMark + scramWord
)

// AddUser appends a user to a passwd file.
func AddUser(path, name string, s Secret) error {
	return Edit(path, maxPasswd, func(text []byte) ([]byte, error) {
		if _, there := findUser(text, name); there {
			return nil, ErrExists
		}
		if len(text) > 0 && text[len(text)-1] != '\n' {
			text = append(text, '\n')
		}
		u := User{Name: name}
		u.set(s)
		return append(text, u.line()...), nil
	})
}

// SetPassword gives a user another password. What else stands in the line stays, also
// that the user may not log in.
func SetPassword(path, name string, s Secret) error {
	return changeUser(path, name, func(u *User) {
		closed := u.closed()
		u.set(s)
		u.close(closed)
	})
}

// CloseUser says whether a user may log in. Mail comes whatever it says.
func CloseUser(path, name string, closed bool) error {
	return changeUser(path, name, func(u *User) { u.close(closed) })
}

// SetQuota says what a user's mailbox may have, a size as QuotaSize gives it: by the word
// that the line has for that, else by Dovecot's to 2.3. "" takes it out of the line.
func SetQuota(path, name, size string) error {
	return changeUser(path, name, func(u *User) {
		word := ruleWord + "*:storage="
		words := slices.DeleteFunc(u.extra(), func(w string) bool {
			if strings.HasPrefix(w, sizeWord) {
				word = sizeWord
				return true
			}
			rule, is := strings.CutPrefix(w, ruleWord)
			octets, ok := ruleSize(rule)
			return is && (octets != 0 || !ok) // one about something else stays
		})
		if size != "" {
			words = append(words, word+size)
		}
		u.setExtra(words)
	})
}

// DeleteUser takes a user out of a passwd file: all lines of the name, since of several
// the next one would count. The mailbox stays.
func DeleteUser(path, name string) error {
	return Edit(path, maxPasswd, func(text []byte) ([]byte, error) {
		after, found := make([]byte, 0, len(text)), false
		for line := range bytes.Lines(text) {
			if isUser(line, name) {
				found = true
				continue
			}
			after = append(after, line...)
		}
		if !found {
			return nil, ErrMissing
		}
		if len(after) == 0 { // an empty file is one that was cut
			after = []byte("# no users\n")
		}
		return after, nil
	})
}

// changeUser changes the line of a user.
func changeUser(path, name string, change func(*User)) error {
	return Edit(path, maxPasswd, func(text []byte) ([]byte, error) {
		at, there := findUser(text, name)
		if !there {
			return nil, ErrMissing
		}
		end := len(text)
		if i := bytes.IndexByte(text[at:], '\n'); i >= 0 {
			end = at + i + 1
		}
		u, err := parseUser(trimLine(text[at:end]))
		if err != nil {
			return nil, fmt.Errorf("the line of %s: %w", name, err)
		}
		change(&u)
		return slices.Concat(text[:at], []byte(u.line()), text[end:]), nil
	})
}

// findUser returns where the first line of a user begins.
func findUser(text []byte, name string) (at int, ok bool) {
	for line := range bytes.Lines(text) {
		if isUser(line, name) {
			return at, true
		}
		at += len(line)
	}
	return 0, false
}

func isUser(line []byte, name string) bool {
	spelt, _, _ := strings.Cut(trimLine(line), ":")
	return smtp.EqualFold(spelt, name) && !isComment(spelt)
}

func trimLine(line []byte) string { return string(bytes.TrimRight(line, "\r\n")) }

// line is the user as it stands in the file.
func (u *User) line() string { return u.Name + ":" + strings.Join(u.fields, ":") + "\n" }

// set puts a password's hash and verifier in the place of others.
func (u *User) set(s Secret) {
	if len(u.fields) == 0 {
		u.fields = []string{""}
	}
	u.fields[0] = s.Hash
	words := slices.DeleteFunc(u.extra(), func(w string) bool { return strings.HasPrefix(w, scramWord) || strings.HasPrefix(w, closedWord) })
	if s.Verifier != "" {
		words = append(words, scramWord+s.Verifier)
	}
	u.setExtra(words)
}

// extra are the words behind passwd(5)'s fields.
func (u *User) extra() []string {
	if len(u.fields) <= extraField {
		return nil
	}
	return strings.Fields(strings.Join(u.fields[extraField:], ":"))
}

func (u *User) setExtra(words []string) {
	if len(words) == 0 && len(u.fields) <= extraField {
		return
	}
	for len(u.fields) <= extraField {
		u.fields = append(u.fields, "")
	}
	u.fields = append(u.fields[:extraField], strings.Join(words, " "))
}

// closed says whether the user may not log in.
func (u *User) closed() bool { return strings.HasPrefix(u.fields[0], closedMark) }

// close says that the user may not log in, or may.
func (u *User) close(yes bool) {
	words := u.extra()
	for i, w := range words {
		if w = strings.TrimPrefix(w, closedMark); yes && strings.HasPrefix(w, scramWord) {
			w = closedMark + w
		}
		if strings.HasPrefix(strings.TrimPrefix(w, closedMark), scramWord) {
			words[i] = w
		}
	}
	u.setExtra(words)
	u.fields[0] = strings.TrimPrefix(u.fields[0], closedMark)
	if yes {
		u.fields[0] = closedMark + u.fields[0]
	}
}

// Secret is what stands there for the password; closed says that nobody may log in with
// it.
func (u User) Secret() (s Secret, closed bool) {
	s.Hash = strings.TrimPrefix(u.fields[0], closedMark)
	for _, w := range u.extra() {
		if v, ok := strings.CutPrefix(strings.TrimPrefix(w, closedMark), scramWord); ok {
			s.Verifier = v
		}
	}
	return s, u.closed()
}

// EachUser calls do with each line of a passwd file that is no comment; err says why it
// can't be understood.
func EachUser(text []byte, do func(n int, u User, err error)) {
	n, seen := 0, map[string]int{}
	for line := range bytes.Lines(text) {
		n++
		l := trimLine(line)
		if isComment(l) {
			continue
		}
		u, err := parseUser(l)
		if err == nil && seen[smtp.Fold(u.Name)] > 0 {
			err = fmt.Errorf("%s stands in line %d already, which counts", u.Name, seen[smtp.Fold(u.Name)])
		} else if err == nil {
			seen[smtp.Fold(u.Name)] = n
		}
		do(n, u, err)
	}
	if len(text) > 0 && text[len(text)-1] != '\n' {
		do(n, User{}, errors.New("the last line has no end: end it with a line feed"))
	}
}

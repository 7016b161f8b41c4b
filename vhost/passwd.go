package vhost

import (
	"errors"
	"fmt"
	"strings"

	"postoffice/internal/account"
)

// PasswdFile and AliasesFile are the names of a domain's files below its directory.
const (
	PasswdFile  = "passwd"
	AliasesFile = "aliases"
)

// maxLine is the longest line of a passwd file, in octets.
const maxLine = 4096

// A User is a line of a domain's passwd file: name:hash, or the same with the fields
// that passwd(5) has and others behind them. What is not read stays as it is.
type User struct {
	Name   string
	fields []string // behind the name
}

// isComment says that a line of a passwd file names nobody.
func isComment(line string) bool {
	line = strings.TrimLeft(line, " \t")
	return line == "" || line[0] == '#'
}

// parseUser reads a line of a passwd file that is no comment, without its line end.
// With an error the name is that of whom it may mean, "" where that can't be read.
func parseUser(line string) (User, error) {
	f := strings.Split(line, ":")
	u := User{Name: f[0], fields: f[1:]}
	if err := CheckName(u.Name); err != nil {
		return User{}, err
	}
	switch {
	case len(line) > maxLine:
		return u, fmt.Errorf("line of %d octets, at most %d are read", len(line), maxLine)
	case len(f) < 2:
		return u, errors.New("no colon behind the name, want user:hash")
	}
	return u, nil
}

// CheckName says why name can't be a user of a virtual domain, nil if it can: it is
// the name of a file, and must not look like an item of an alias file.
func CheckName(name string) error {
	if err := account.CheckName(name); err != nil {
		return err
	}
	if strings.ContainsAny(name, "@ \t|\"\\,#*") {
		return fmt.Errorf("name %q has a character that a user's can't have", name)
	}
	return nil
}

// Cut parts the address of a virtual user into name and domain, as Key gives it.
func Cut(address string) (name, domain string, ok bool) {
	i := strings.LastIndexByte(address, '@')
	if i <= 0 {
		return "", "", false
	}
	domain, err := Key(address[i+1:])
	return address[:i], domain, err == nil
}

// CheckAddress says why the address of a virtual user is too long to be one.
func CheckAddress(name, domain string) error {
	if n := len(name) + 1 + len(domain); n > account.MaxName {
		return fmt.Errorf("%s@%s has %d octets, at most %d are possible", name, domain, n, account.MaxName)
	}
	return nil
}

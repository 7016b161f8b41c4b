package passwords

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"net/netip"
	"os"
	"strings"
	"syscall"

	"postoffice/internal/smtp"
)

const (
	maxFile     = 256 << 10 // octets of the file
	maxPassword = 4 << 10   // octets of a password or a token
)

// othersMay are the modes that nobody but the owner may have.
const othersMay fs.FileMode = 0o077

// find returns the password of a user at a host. The file must be root's or owner's.
func find(name, host, user string, owner int) (string, error) {
	if name == "" {
		return "", &missingFile{"for passwords"}
	}
	text, err := read(name, owner)
	if err != nil {
		return "", err
	}
	for n, line := range strings.Split(text, "\n") {
		line = strings.TrimSpace(line)
		if line == "" || line[0] == '#' {
			continue
		}
		at, rest := word(line)
		who, password := word(rest)
		if !sameHost(at, host) || who != user {
			continue
		}
		switch {
		case password == "":
			return "", fmt.Errorf("%s:%d: no password behind host and user", name, n+1)
		case len(password) > maxPassword:
			return "", fmt.Errorf("%s:%d: a password of %d octets, want at most %d", name, n+1, len(password), maxPassword)
		}
		return password, nil
	}
	return "", fmt.Errorf("%s has %w: add %q, with the password for PASSWORD", name, errNone, host+" "+user+" PASSWORD")
}

// errNone: the file says nothing of a host and a user.
var errNone = errors.New("no line for them")

// missingFile is errNone where there is no file.
type missingFile struct{ name string }

func (e *missingFile) Error() string {
	return "there is no file " + e.name + " (option relay-passwords): make it with mode 0600 and a line of host, user and password"
}
func (e *missingFile) Is(target error) bool { return target == errNone }

// word parts the first word off a line.
func word(line string) (first, rest string) {
	i := strings.IndexAny(line, " \t")
	if i < 0 {
		return line, ""
	}
	return line[:i], strings.TrimLeft(line[i:], " \t")
}

// sameHost compares a host of the file, with or without brackets, with one that is
// looked for.
func sameHost(written, host string) bool {
	if a, ok := smtp.ParseLiteral("[" + strings.Trim(written, "[]") + "]"); ok {
		b, err := netip.ParseAddr(host)
		return err == nil && a == b
	}
	return smtp.EqualFold(smtp.AsHost(written), host)
}

// read reads the file, if it is nobody else's to read.
func read(name string, owner int) (string, error) {
	f, err := os.OpenFile(name, os.O_RDONLY|syscall.O_NONBLOCK|syscall.O_NOCTTY, 0)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return "", &missingFile{name}
	case err != nil:
		return "", err
	}
	defer f.Close()
	info, err := f.Stat()
	if err != nil {
		return "", err
	}
	if why := wrong(name, info, owner); why != "" {
		return "", errors.New(name + " is not used: " + why)
	}
	text, err := io.ReadAll(io.LimitReader(f, maxFile+1))
	if err == nil && len(text) > maxFile {
		err = fmt.Errorf("%s has more than %d KiB", name, maxFile>>10)
	}
	return strings.TrimPrefix(string(text), "\ufeff"), err // which some editors put there
}

// wrong says why a file of passwords is not used, and what to do.
func wrong(name string, info fs.FileInfo, owner int) string {
	st := info.Sys().(*syscall.Stat_t)
	switch {
	case !info.Mode().IsRegular():
		return "it is no regular file"
	case st.Uid != 0 && int(st.Uid) != owner:
		return fmt.Sprintf("it belongs to uid %d: chown root %s", st.Uid, name)
	case info.Mode().Perm()&othersMay != 0:
		return fmt.Sprintf("others may open it (mode %04o): chmod 600 %s, and change the passwords if somebody may have read them", info.Mode().Perm(), name)
	}
	return ""
}

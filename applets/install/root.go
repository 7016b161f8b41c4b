package install

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
)

// root is a directory that is installed in as if it were /; "" is this machine itself.
type root string

// maxLinks bounds the links that lead to one name, as the kernel does.
const maxLinks = 40

// at is where a name of the root is. Its directories are followed, links among them as the
// root has them, so that none leads out of it; what the name itself leads to is not.
func (r root) at(name string) (string, error) {
	if r == "" {
		return name, nil
	}
	rest := strings.Split(strings.Trim(name, "/"), "/")
	dir, links := "/", 0
	for len(rest) > 1 {
		one := rest[0]
		rest = rest[1:]
		next := filepath.Join(dir, one) // "..", which stops at /
		target, err := os.Readlink(filepath.Join(string(r), next))
		if err != nil { // no link, or nothing: then there is nothing below it
			dir = next
			continue
		}
		if links++; links > maxLinks {
			return "", fmt.Errorf("%s: too many links lead there", name)
		}
		if filepath.IsAbs(target) {
			dir = "/"
		}
		rest = append(strings.Split(strings.Trim(target, "/"), "/"), rest...)
	}
	return filepath.Join(string(r), dir, rest[0]), nil
}

// followed is where what a name leads to is.
func (r root) followed(name string) (string, error) {
	for range maxLinks {
		at, err := r.at(name)
		if err != nil {
			return "", err
		}
		target, err := os.Readlink(at)
		if err != nil {
			return at, nil
		}
		if !filepath.IsAbs(target) {
			target = filepath.Join(filepath.Dir(strings.TrimPrefix(at, string(r))), target)
		}
		name = target
	}
	return "", fmt.Errorf("%s: too many links lead there", name)
}

// read is the text of a file, whatever links lead there.
func (r root) read(name string) ([]byte, error) {
	at, err := r.followed(name)
	if err != nil {
		return nil, err
	}
	return os.ReadFile(at)
}

// first is the first of some names at which there is something; "": there is none.
func (r root) first(names ...string) string {
	for _, name := range names {
		if r.has(name) {
			return name
		}
	}
	return ""
}

// has reports whether there is something at a name, whatever links lead there.
func (r root) has(name string) bool {
	at, err := r.followed(name)
	if err == nil {
		_, err = os.Lstat(at)
	}
	return err == nil
}

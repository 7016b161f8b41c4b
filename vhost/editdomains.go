package vhost

import (
	"bytes"
	"fmt"
	"slices"
	"strings"
)

// AddDomain appends a domain, as Key gives it, to the list in a file.
func AddDomain(path, owner, domain, comment string) error {
	if strings.ContainsAny(owner, ":\r\n") || strings.ContainsAny(comment, "\r\n") {
		return fmt.Errorf("the owner %q or the comment %q can't stand in %s", owner, comment, path)
	}
	return Edit(path, maxDomains, func(text []byte) ([]byte, error) {
		if _, _, there := findDomain(text, domain); there {
			return nil, ErrExists
		}
		if len(text) > 0 && text[len(text)-1] != '\n' {
			text = append(text, '\n')
		}
		return fmt.Appendf(text, "%s:%s:1:%s\n", owner, domain, comment), nil
	})
}

// DeleteDomain takes a domain out of the list: all of its lines, since of several the next
// one would count. Its files stay.
func DeleteDomain(path, domain string) error {
	return Edit(path, maxDomains, func(text []byte) ([]byte, error) {
		found := false
		for {
			at, end, there := findDomain(text, domain)
			if !there {
				break
			}
			found, text = true, slices.Delete(text, at, end)
		}
		if !found {
			return nil, ErrMissing
		}
		return text, nil
	})
}

// SetActive says whether a domain is served.
func SetActive(path, domain string, active bool) error {
	word := "0"
	if active {
		word = "1"
	}
	return Edit(path, maxDomains, func(text []byte) ([]byte, error) {
		at, end, there := findDomain(text, domain)
		if !there {
			return nil, ErrMissing
		}
		f := strings.SplitN(trimLine(text[at:end]), ":", 4)
		for len(f) < 4 {
			f = append(f, "")
		}
		f[2] = word
		return slices.Concat(text[:at], []byte(strings.Join(f, ":")+"\n"), text[end:]), nil
	})
}

// findDomain returns where the first line of a domain begins and ends.
func findDomain(text []byte, domain string) (at, end int, ok bool) {
	for line := range bytes.Lines(text) {
		end = at + len(line)
		if d, is := parseDomain(trimLine(line)); is && d.Name == domain {
			return at, end, true
		}
		at = end
	}
	return 0, 0, false
}

// EachDomain yields the domains of a list, good lines and others, in their order.
func EachDomain(text []byte, do func(Domain)) {
	n := 0
	for line := range bytes.Lines(text) {
		n++
		if d, ok := parseDomain(trimLine(line)); ok {
			d.Line = n
			do(d)
		}
	}
}

package account

import (
	"bytes"
	"context"
	"fmt"
	"strconv"
	"strings"
)

// Alone reports whether nobody but the account can be in its primary group:
// the group has no other member, and it has the account's name or is no other
// account's primary group. The latter can't be known of accounts that are in no
// file.
func (s *System) Alone(a Account) (bool, error) {
	groups, more, err := s.group(a.GID)
	if err != nil {
		return false, fmt.Errorf("look for group %d: %w", a.GID, err)
	}
	named := false
	for line := range bytes.Lines(groups) {
		f := strings.Split(strings.TrimSuffix(string(line), "\n"), ":")
		if len(f) != 4 || f[2] != strconv.Itoa(a.GID) {
			continue
		}
		if f[3] != "" && f[3] != a.Name {
			return false, nil
		}
		named = named || f[0] == a.Name
	}
	if named || more {
		return named, nil
	}
	all, err := s.files.current()
	if err != nil {
		return false, fmt.Errorf("look for the accounts of group %d: %w", a.GID, err)
	}
	for _, other := range all.exact {
		if other.GID == a.GID && other.UID != a.UID {
			return false, nil
		}
	}
	return true, nil
}

// group returns lines of group(5), among them those of this group; more says
// that files don't have all groups.
func (s *System) group(gid int) (lines []byte, more bool, err error) {
	if more, err = moreThanFiles(s.names.nsswitch(), "group"); err != nil {
		return nil, more, err
	}
	if !more {
		lines, err = readGroups(s.names.group())
		return lines, more, err
	}
	ctx, cancel := context.WithTimeout(context.Background(), placeWait)
	defer cancel()
	text, err := s.getent.ask(ctx, "group", strconv.Itoa(gid))
	if err == errNotThere {
		return nil, more, nil
	}
	return []byte(text), more, err
}

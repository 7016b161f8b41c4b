package account

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"slices"
	"strconv"
	"strings"
)

const (
	maxGroupFile = 64 << 20 // octets
	maxGroups    = 65536    // NGROUPS_MAX of Linux
)

// Groups returns the supplementary groups of an account, its own first: those
// of the group file and, where nsswitch.conf names more sources for groups,
// those that getent knows (A76). An error means that not all of them are known
// now: nothing may be started for the account with fewer.
func (s *System) Groups(ctx context.Context, a Account) ([]uint32, error) {
	more, err := moreThanFiles(s.names.nsswitch(), "initgroups", "group")
	if err != nil {
		return nil, fmt.Errorf("look for the groups of %s: %w", a.Name, err)
	}
	var list []uint32
	if more {
		list, err = s.getent.groups(ctx, a.Name)
	} else {
		list, err = groupsIn(s.names.group(), a.Name)
	}
	if err != nil {
		return nil, fmt.Errorf("look for the groups of %s: %w", a.Name, err)
	}
	list = append([]uint32{uint32(a.GID)}, list...) // one that is there twice does no harm
	if len(list) > maxGroups {
		return nil, fmt.Errorf("user %s is in %d groups, at most %d are possible", a.Name, len(list), maxGroups)
	}
	return list, nil
}

// groupsIn reads a file in the form of group(5): name, password, gid and
// members between colons. Without the file nobody is in a group.
func groupsIn(path, user string) ([]uint32, error) {
	b, err := readGroups(path)
	if err != nil {
		return nil, err
	}
	return memberships(path, user, b)
}

func readGroups(path string) ([]byte, error) {
	f, err := os.Open(path)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	defer f.Close()
	b, err := io.ReadAll(io.LimitReader(f, maxGroupFile+1))
	if err != nil {
		return nil, err
	}
	if len(b) > maxGroupFile {
		return nil, fmt.Errorf("%s: larger than %d octets", path, maxGroupFile)
	}
	return b, nil
}

func memberships(path, user string, groups []byte) ([]uint32, error) {
	var list []uint32
	for line := range bytes.Lines(groups) {
		if !bytes.Contains(line, []byte(user)) {
			continue
		}
		fields := strings.Split(strings.TrimSuffix(string(line), "\n"), ":")
		if len(fields) != 4 || !slices.Contains(strings.Split(fields[3], ","), user) {
			continue
		}
		gid, err := strconv.ParseUint(fields[2], 10, 32)
		if err != nil || gid == 1<<32-1 {
			return nil, fmt.Errorf("%s: group %q has the gid %q", path, fields[0], fields[2])
		}
		list = append(list, uint32(gid))
	}
	return list, nil
}

// groups asks the C library: getent prints the name, then a gid for each group.
func (g *getent) groups(ctx context.Context, user string) ([]uint32, error) {
	out, err := g.ask(ctx, "initgroups", user)
	if err != nil {
		return nil, err
	}
	rest, ok := strings.CutPrefix(out, user)
	if !ok || rest != "" && !strings.ContainsAny(rest[:1], " \n") {
		return nil, fmt.Errorf("getent initgroups %q answered %.100q", user, out)
	}
	var list []uint32
	for _, s := range strings.Fields(rest) {
		gid, err := strconv.ParseUint(s, 10, 32)
		if err != nil || gid == 1<<32-1 {
			return nil, fmt.Errorf("getent initgroups %q answered %.100q", user, out)
		}
		list = append(list, uint32(gid))
	}
	return list, nil
}

package preflight

import (
	"context"
	"errors"
	"net"
	"net/netip"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"postoffice/applets/config"
	"postoffice/internal/testenv"
)

// TestPreflightOfFilters: a filter that can't be reached is told, with what to do and what becomes of
// mail, and is no error; one that is there, or at an address, is fine.
func TestPreflightOfFilters(t *testing.T) {
	testenv.NeedsRoot(t, "sets options that are root's")
	dir := t.TempDir()
	in := func(name string) string { return filepath.Join(dir, name) }
	testenv.Must(t, errors.Join(os.WriteFile(in("plain"), nil, 0o600), os.Mkdir(in("open"), 0o755)))
	l, err := net.Listen("unix", in("open/socket"))
	testenv.Must(t, err)
	defer l.Close()
	hosts := func(_ context.Context, host string) ([]netip.Addr, error) {
		switch host {
		case "there.example":
			return []netip.Addr{netip.MustParseAddr("192.0.2.1")}, nil
		case "down.example":
			return nil, errors.New("no server answers")
		}
		return nil, nil
	}
	for _, tt := range []struct{ filter, says, hint string }{
		{in("open/socket"), "", ""},
		{"127.0.0.1:1", "", ""},
		{"[2001:db8::1]:8891", "", ""},
		{"there.example:8891", "", ""},
		{in("none") + " name=dkim", "filter dkim: connect " + in("none") + ": no such file or directory", "start the filter, or have it make its socket there; until then mail goes on without it"},
		{in("plain") + " fail=tempfail", in("plain") + " is no socket", "start the filter, or have it make its socket there; until then clients are asked to come again"},
		{"nowhere.example:8891 fail=reject", "nowhere.example has no address", "write the right name, or the filter's address; until then mail is refused"},
		{"down.example:8891 fail=quarantine", "look up down.example: no server answers", "look at dns-server and /etc/resolv.conf, or write the filter's address; until then mail is taken and held"},
		{in("open/socket") + " " + in("none"), "connect " + in("none"), "start the filter"},
	} {
		all := Filters(t.Context(), filtersConfig(t, tt.filter), who(true), hosts)
		if tt.says == "" {
			if len(all) > 0 {
				t.Errorf("%s: found %v", tt.filter, all[0].Err)
			}
			continue
		}
		if len(all) != 1 || all[0].Gravity != Odd || all[0].Option != "filter" || !strings.Contains(all[0].Err.Error(), "filter: "+tt.says) || !strings.HasPrefix(all[0].Hint(), tt.hint) {
			t.Errorf("%s: found %+v, want %q and %q", tt.filter, all, tt.says, tt.hint)
		}
	}
	if all := Filters(t.Context(), filtersConfig(t, "nowhere.example:8891"), who(true), nil); len(all) > 0 {
		t.Errorf("where names are not looked up: found %v", all[0].Err)
	}
}

// filtersConfig is a configuration with filters.
func filtersConfig(t *testing.T, filters string) *config.Config {
	t.Helper()
	conf, err := config.Load(config.Options{File: os.DevNull, UID: os.Getuid(), Sets: []string{"filter=" + filters}})
	testenv.Must(t, err)
	return conf
}

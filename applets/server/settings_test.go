package server

import (
	"errors"
	"log/slog"
	"net/netip"
	"os"
	"path/filepath"
	"testing"

	"postoffice/applets/config"
	"postoffice/internal/alias"
	"postoffice/internal/testenv"
)

// TestMain: no test here is to start a process of the server's.
func TestMain(m *testing.M) { os.Exit(testenv.Main(m.Run, nil)) }

// TestZero: an option that says 0 is 0 for who uses it, and not a default.
func TestZero(t *testing.T) {
	testenv.NeedsRoot(t, "sets options that are root's")
	for set, want := range map[string]func(*settings) (any, any){
		"clients=0": func(s *settings) (any, any) { return s.smtpd(inbox{}, nil).Clients, -1 },
		"clients=7": func(s *settings) (any, any) { return s.smtpd(inbox{}, nil).Clients, 7 },
		"qreturn=0": func(s *settings) (any, any) { return int64(s.deliver(ground{}, nil, nil).QReturn), int64(-1) },
		"qreturn=1m": func(s *settings) (any, any) {
			return s.deliver(ground{}, nil, nil).QReturn.String(), "1m0s"
		},
	} {
		conf, err := config.Load(config.Options{File: os.DevNull, UID: os.Getuid(), Sets: []string{"dns-server=127.0.0.1", "hostname=h.example", set}})
		if err != nil {
			t.Fatal(err)
		}
		if got, want := want(newSettings(t.Context(), conf, slog.New(slog.DiscardHandler))); got != want {
			t.Errorf("%s: %v, want %v", set, got, want)
		}
	}
}

// Where an option names an alias file, it has to be there; the default one need not.
func TestAliasesNamed(t *testing.T) {
	testenv.NeedsRoot(t, "sets options that are root's")
	missing := filepath.Join(t.TempDir(), "aliases")
	conf, err := config.Load(config.Options{File: os.DevNull, UID: os.Getuid(), Sets: []string{"aliases=" + missing}})
	if err != nil {
		t.Fatal(err)
	}
	if _, err := Aliases(conf).Lookup(t.Context(), "alice"); err == nil || errors.Is(err, alias.ErrNotFound) {
		t.Errorf("a named file that is missing: %v, want an error that isn't ErrNotFound", err)
	}
	if !conf.Named("aliases") || conf.Named("usermap") {
		t.Errorf("Named: aliases %v, usermap %v, want true and false", conf.Named("aliases"), conf.Named("usermap"))
	}
}

// TestGreylistExemptClients: networks of option greylist-exempt-clients hold for IPv6 as for
// IPv4, which people have missed in other greylists.
func TestGreylistExemptClients(t *testing.T) {
	exempt := within([]string{"2001:db8:40::/44", "198.51.100.0/24", "2001:db8::7"})
	for a, want := range map[string]bool{
		"2001:db8:4f::613": true, "2001:db8:50::613": false, "2001:db8::7": true, "2001:db8::8": false, "198.51.100.9": true, "198.51.101.9": false,
	} {
		if got := exempt(netip.MustParseAddr(a)); got != want {
			t.Errorf("%s is exempt: %v, want %v", a, got, want)
		}
	}
}

package server

import (
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"os"
	"strings"
	"syscall"
	"testing"

	"postoffice/applets/cmdline"
	"postoffice/applets/config"
	"postoffice/applets/sysexits"
	"postoffice/internal/disk"
	"postoffice/internal/testenv"
)

// TestMain: no test here is to start a process of the server's.
func TestMain(m *testing.M) { os.Exit(testenv.Main(m.Run, nil)) }

// TestZero: an option that says 0 is 0 for who uses it, and not a default.
func TestZero(t *testing.T) {
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

// A queue where nothing is safe is told with what to do.
func TestNoSyncHint(t *testing.T) {
	err := queueDirError("/q", &fs.PathError{Op: "sync", Path: "/q", Err: fmt.Errorf("%w: %w", disk.ErrNoSync, syscall.EINVAL)})
	var e *cmdline.ExitError
	if !errors.As(err, &e) || e.Code != sysexits.TempFail || !strings.Contains(e.Hint, "local file system") {
		t.Errorf("%#v, want a hint at another file system", err)
	}
}

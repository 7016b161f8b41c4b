package preflight

import (
	"errors"
	"fmt"
	"io/fs"
	"net"
	"strings"
	"syscall"
	"testing"

	"postoffice/applets/cmdline"
	"postoffice/applets/sysexits"
	"postoffice/internal/disk"
)

// A queue where nothing is safe is told with what to do.
func TestNoSyncHint(t *testing.T) {
	err := QueueDirError("/q", &fs.PathError{Op: "sync", Path: "/q", Err: fmt.Errorf("%w: %w", disk.ErrNoSync, syscall.EINVAL)})
	var e *cmdline.ExitError
	if !errors.As(err, &e) || e.Code != sysexits.TempFail || !strings.Contains(e.Hint, "local file system") {
		t.Errorf("%#v, want a hint at another file system", err)
	}
}

// An interface is not a name to listen on, and the hint says so.
func TestListenOnInterface(t *testing.T) {
	all, err := net.Interfaces()
	if err != nil || len(all) == 0 {
		t.Fatalf("no interface: %v", err)
	}
	for name, want := range map[string]string{
		all[0].Name:       all[0].Name + " is an interface: give its address",
		"no.such.invalid": "the name must be in /etc/hosts",
	} {
		var e *cmdline.ExitError
		if err := PortError(&net.DNSError{Err: "no such host", Name: name}); !errors.As(err, &e) || !strings.Contains(e.Hint, want) {
			t.Errorf("%s: %v, want %q", name, e, want)
		}
	}
}

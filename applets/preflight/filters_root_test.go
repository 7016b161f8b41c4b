//go:build e2e

// This test looks with another account's rights, which takes root.

package preflight

import (
	"errors"
	"io/fs"
	"net"
	"os"
	"runtime"
	"strings"
	"testing"

	"golang.org/x/sys/unix"

	"postoffice/applets/service"
	"postoffice/internal/testenv"
)

// TestFiltersOfOthers: a socket that the server may not reach, as it isn't let through or
// may not write it, is told with the place where that can be mended.
func TestFiltersOfOthers(t *testing.T) {
	const nobody = 65534
	dir, err := os.MkdirTemp("/tmp", "filters")
	testenv.Must(t, err)
	defer os.RemoveAll(dir)
	testenv.Must(t, os.Chmod(dir, 0o755))
	w := who(true)
	w.Server = service.User{Name: "postoffice", UID: nobody, GID: nobody}
	w.AsServer = func(f func() error) error {
		done := make(chan error)
		go func() {
			runtime.LockOSThread() // the thread ends with this
			for _, call := range []uintptr{unix.SYS_SETRESGID, unix.SYS_SETRESUID} {
				if _, _, no := unix.RawSyscall(call, ^uintptr(0), nobody, ^uintptr(0)); no != 0 {
					done <- no
					return
				}
			}
			done <- f()
		}()
		return <-done
	}
	for _, tt := range []struct {
		dir, socket fs.FileMode
		says, hint  string
	}{
		{0o755, 0o777, "", ""},
		{0o750, 0o777, "/a does not let postoffice through", "chmod a+x " + dir + "/a, or put postoffice into the group"},
		{0o755, 0o770, "/a/b/socket: permission denied", "have the filter make its socket so that postoffice may write it"},
	} {
		testenv.Must(t, os.MkdirAll(dir+"/a/b", 0o755))
		l, err := net.Listen("unix", dir+"/a/b/socket")
		testenv.Must(t, err)
		testenv.Must(t, errors.Join(os.Chmod(dir+"/a/b/socket", tt.socket), os.Chmod(dir+"/a", tt.dir)))
		all := Filters(t.Context(), filtersConfig(t, dir+"/a/b/socket"), w, nil)
		l.Close()
		switch {
		case tt.says == "" && len(all) > 0:
			t.Errorf("%v: found %v", tt, all[0].Err)
		case tt.says != "" && (len(all) != 1 || !strings.Contains(all[0].Err.Error(), tt.says) || !strings.HasPrefix(all[0].Hint(), tt.hint)):
			t.Errorf("%v: found %+v", tt, all)
		}
	}
}

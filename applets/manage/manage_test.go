package manage

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"postoffice/applets/cmdline"
	"postoffice/applets/config"
	"postoffice/applets/service"
)

// TestWhoseServer: who listens at the control socket is taken for the server where nobody
// else can have put the socket there, and where a server has the lock.
func TestWhoseServer(t *testing.T) {
	dir := t.TempDir()
	if err := os.Chmod(dir, 0o755); err != nil {
		t.Fatal(err)
	}
	l, err := service.ListenUnix(service.Control, filepath.Join(dir, service.Control))
	if err != nil {
		t.Fatal(err)
	}
	defer l.File.Close()
	look := func(want string) {
		t.Helper()
		var said strings.Builder
		f, answered := ours(t.Context(), &cmdline.Env{Program: "postoffice stop", Stderr: &said}, &config.Config{RunDir: dir})
		if want != "" && (answered == nil || !strings.Contains(said.String(), want)) {
			t.Errorf("%v, said %q, want %q", answered, said.String(), want)
		}
		if want == "" && (answered != nil || f.process == nil || f.process.Pid != os.Getpid()) {
			t.Errorf("%v, %v, said %q, want this process", answered, f.process, said.String())
		}
	}
	look("just ending")
	r, err := service.LockRunDir(dir, -1)
	if err != nil {
		t.Fatal(err)
	}
	defer r.Close()
	look("")
	if err := os.Chmod(dir, 0o777); err != nil {
		t.Fatal(err)
	}
	look("is writable by others")
}

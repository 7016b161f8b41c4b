//go:build e2e

package client

import (
	"io"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"

	"golang.org/x/sys/unix"

	"postoffice/applets/cmdline"
	"postoffice/applets/service"
	"postoffice/internal/testenv"
)

// TestNoTerminal: what reads the queue for root has a session of its own, so
// that one who took over the server's account can't type into root's terminal
// through it.
func TestNoTerminal(t *testing.T) {
	r, w, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	defer r.Close()
	ended := make(chan error, 1)
	go func() { // it waits for its configuration
		env := &cmdline.Env{Stdout: io.Discard, Stderr: io.Discard}
		ended <- asUser(t.Context(), env, service.User{Name: "nobody", UID: 65534, GID: 65534}, []string{OwnerRole, "mailq", "mailq"}, r)
	}()
	if !testenv.Eventually(func() bool { return leadsSession(t) }) {
		t.Fatal("no child with a session of its own")
	}
	w.Close()
	<-ended
}

// leadsSession says whether a child of this process leads a session.
func leadsSession(t *testing.T) bool {
	t.Helper()
	tasks, err := filepath.Glob("/proc/self/task/*/children")
	if err != nil {
		t.Fatal(err)
	}
	for _, name := range tasks {
		text, _ := os.ReadFile(name) // the thread may have ended
		for child := range strings.FieldsSeq(string(text)) {
			pid, err := strconv.Atoi(child)
			if err != nil {
				t.Fatal(err)
			}
			if sid, err := unix.Getsid(pid); err == nil && sid == pid {
				return true
			}
		}
	}
	return false
}

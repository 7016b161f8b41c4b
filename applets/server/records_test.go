package server

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"os"
	"strings"
	"testing"

	"postoffice/applets/control"
	"postoffice/applets/smtpd/greylist"
	"postoffice/applets/state"
	"postoffice/applets/sysexits"
	"postoffice/internal/dbm/store"
	"postoffice/internal/maillog"
)

// wantCode holds an error of the control socket to its exit code and its words.
func wantCode(t *testing.T, err error, code int, words string) {
	t.Helper()
	e := (*control.Error)(nil)
	if !errors.As(err, &e) || e.Code != code || !strings.Contains(e.Text, words) {
		t.Errorf("%v, want code %d and %q", err, code, words)
	}
}

// TestRecordsViewers: root and the server's user reach the store if something has opened
// it, nobody else does; that it isn't open is told in a way that the files are read then.
func TestRecordsViewers(t *testing.T) {
	s := &system{log: maillog.Discard()}
	for _, uid := range []int{71000, 65534} {
		_, err := s.records(control.Peer{UID: uid}, state.Greylist)
		wantCode(t, err, sysexits.NoPerm, "only root and the server-user")
	}
	_, err := s.records(control.Peer{UID: 0}, state.Greylist)
	wantCode(t, err, sysexits.NoInput, "no store open")
	if !IsStoreShut(err) || IsStoreShut(&control.Error{Code: sysexits.NoInput, Text: "x"}) {
		t.Error("a store that isn't open is not known by the error")
	}
	s.state = state.New(t.TempDir(), s.log)
	defer s.state.Close()
	if _, err := s.records(control.Peer{UID: 0}, state.Greylist); !IsStoreShut(err) {
		t.Errorf("nothing has opened it: %v", err)
	}
	s.state.Part(state.Scores)
	for _, uid := range []int{0, os.Getuid()} {
		records, err := s.records(control.Peer{UID: uid}, state.Greylist)
		if err != nil {
			t.Fatal(err)
		}
		if err := records.Update(t.Context(), "k", func(string, bool) (string, bool) { return "v", true }); err != nil {
			t.Error(err)
		}
	}
}

// TestRecordsLogged: what somebody changes is in the log with their uid, what is only
// looked at is not, and a key is fit for a terminal there.
func TestRecordsLogged(t *testing.T) {
	var log bytes.Buffer
	deleted := 0
	r := Records{Store: new(greylist.Memory), Log: slog.New(slog.NewTextHandler(&log, nil)), UID: 71000, Deleted: func(_ context.Context, n int) { deleted += n }}
	set := func(value string) {
		if err := r.Update(t.Context(), "a\x1b[2J@[192.0.2.1]", func(string, bool) (string, bool) { return value, true }); err != nil {
			t.Error(err)
		}
	}
	set("1 2")
	set("1 2")
	if err := r.Scan(t.Context(), "", func(string, string) bool { return true }); err != nil {
		t.Error(err)
	}
	if _, _, err := r.Get(t.Context(), "x"); err != nil {
		t.Error(err)
	}
	for range 2 {
		if _, err := r.Delete(t.Context(), []string{"a\x1b[2J@[192.0.2.1]"}, func(string, string) bool { return true }); err != nil {
			t.Error(err)
		}
	}
	if deleted != 1 {
		t.Errorf("%d deleted records are counted, want 1", deleted)
	}
	got := log.String()
	if n := strings.Count(got, "\n"); n != 2 || !strings.Contains(got, `msg="record changed"`) || !strings.Contains(got, `value="1 2" user="uid 71000"`) ||
		!strings.Contains(got, `msg="records deleted" count=1 user="uid 71000"`) || strings.Contains(got, "\x1b") {
		t.Errorf("logged\n%s", got)
	}
}

// TestStoreError: each error of the store has an exit code and says what to do.
func TestStoreError(t *testing.T) {
	damaged := &store.DamageError{Dir: "/d", Mend: "mend it", Err: errors.New("x")}
	for _, tt := range []struct {
		err   error
		code  int
		words string
	}{
		{damaged, 65, `run "mend it"`},
		{store.ErrLocked, 75, "try again in a moment"},
		{store.ErrFull, 75, "free some on its disk"},
		{fmt.Errorf("%w: x", store.ErrLost), 74, "mend its disk"},
		{store.ErrLate, 75, "slow or broken"},
		{store.ErrClosed, 75, "is ending"},
		{store.ErrTooLong, 64, "too long"},
		{store.ErrLite, 69, "install the full one"},
		{&fs.PathError{Op: "open", Path: "/d", Err: fs.ErrPermission}, 77, "chown"},
		{context.DeadlineExceeded, 75, ""},
		{&control.Error{Code: 77, Text: "not you"}, 77, "not you"},
	} {
		wantCode(t, StoreError(tt.err), tt.code, tt.words)
	}
	if err := StoreError(nil); err != nil {
		t.Error(err)
	}
}

package control

import (
	"context"
	"fmt"
	"io"
	"net"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"testing"
	"time"

	"postoffice/applets/smtpd/greylist"
	"postoffice/applets/smtpd/greytest"
)

// recordsAt serves a store, and is the client's end of it.
func recordsAt(t *testing.T, s Store) Records {
	path := start(t, Handler{Store: func(p Peer, part string) (Store, error) {
		if p.UID != os.Getuid() || part != "part/" {
			return nil, &Error{77, "not you"}
		}
		return s, nil
	}})
	return Records{Part: "part/", Dial: func(ctx context.Context) (*Client, error) { return Dial(ctx, path) }}
}

// TestRecordsConform: what a client asks of a server's store is a store.
func TestRecordsConform(t *testing.T) {
	greytest.Run(t, func(t *testing.T) greylist.Store { return recordsAt(t, new(greylist.Memory)) })
}

// TestRecordsPages: a long listing is many pages, whole and in order, with octets of any
// kind; who wants no more asks for no more.
func TestRecordsPages(t *testing.T) {
	const n = 5000
	store := new(counted)
	want := map[string]string{}
	for i := range n {
		key, value := fmt.Sprintf("%05d\x00\xff\x1b[2J", i), strings.Repeat(string([]byte{byte(i)}), 200)
		want[key] = value
		if err := store.Update(t.Context(), key, func(string, bool) (string, bool) { return value, true }); err != nil {
			t.Fatal(err)
		}
	}
	r := recordsAt(t, store)
	var keys []string
	err := r.Scan(t.Context(), "", func(key, value string) bool {
		keys = append(keys, key)
		if value != want[key] {
			t.Errorf("%q holds %q", key, value)
		}
		return true
	})
	if err != nil || len(keys) != n || !slices.IsSorted(keys) {
		t.Errorf("%d keys, sorted %v, %v", len(keys), slices.IsSorted(keys), err)
	}
	if store.most > maxPage/200+1 || store.scans < n*200/maxPage {
		t.Errorf("%d pages of at most %d records", store.scans, store.most)
	}
	store.scans = 0
	if err := r.Scan(t.Context(), "00100", func(string, string) bool { return false }); err != nil || store.scans != 1 {
		t.Errorf("%d pages for who wants one record: %v", store.scans, err)
	}
	gone, err := r.Delete(t.Context(), keys, func(key, _ string) bool { return key[4] == '7' })
	if err != nil || gone != n/10 || store.Len() != n-n/10 {
		t.Errorf("%d deleted, %d left, %v", gone, store.Len(), err)
	}
}

// TestRecordsUnread: who asks for pages of a long listing and reads none of them costs the
// server a page each, and holds up nobody: neither other listings nor changes.
func TestRecordsUnread(t *testing.T) {
	const n, readers = 20_000, 30
	store := &scanned{began: make(chan struct{}, readers)}
	for i := range n {
		value := strings.Repeat("v", 200)
		if err := store.Update(t.Context(), fmt.Sprintf("%05d", i), func(string, bool) (string, bool) { return value, true }); err != nil {
			t.Fatal(err)
		}
	}
	path := start(t, Handler{Store: func(Peer, string) (Store, error) { return store, nil }})
	r := Records{Dial: func(ctx context.Context) (*Client, error) { return Dial(ctx, path) }}
	line, err := appendLine(nil, Request{Do: Page})
	if err != nil {
		t.Fatal(err)
	}
	before := heap()
	for range readers {
		conn, err := net.Dial("unix", path)
		if err != nil {
			t.Fatal(err)
		}
		defer conn.Close()
		if _, err := conn.Write(line); err != nil {
			t.Fatal(err)
		}
		<-store.began
	}
	store.began = nil
	if grown, bound := heap()-before, int64(readers*4*maxPage); grown > bound {
		t.Errorf("%d listings that nobody reads cost %d KiB, want %d at most", readers, grown>>10, bound>>10)
	}
	keys := 0
	if err := r.Scan(t.Context(), "", func(string, string) bool { keys++; return true }); err != nil || keys != n {
		t.Errorf("meanwhile another listing has %d keys of %d, %v", keys, n, err)
	}
	if err := r.Update(t.Context(), "new", func(string, bool) (string, bool) { return "v", true }); err != nil {
		t.Errorf("meanwhile a change: %v", err)
	}
}

// scanned says when a page is read of it.
type scanned struct {
	greylist.Memory
	began chan struct{} // nil: nobody wants to know
}

func (s *scanned) Scan(ctx context.Context, after string, each func(key, value string) bool) error {
	if s.began != nil {
		s.began <- struct{}{}
	}
	return s.Memory.Scan(ctx, after, each)
}

// heap is the memory in use.
func heap() int64 {
	var m runtime.MemStats
	runtime.GC()
	runtime.ReadMemStats(&m)
	return int64(m.HeapAlloc)
}

// counted counts the pages that are read of it.
type counted struct {
	greylist.Memory
	scans, most int
}

func (c *counted) Scan(ctx context.Context, after string, each func(key, value string) bool) error {
	c.scans++
	n := 0
	defer func() { c.most = max(c.most, n) }()
	return c.Memory.Scan(ctx, after, func(key, value string) bool {
		n++
		return each(key, value)
	})
}

// TestRecordsPut: many are put in few requests, in the place of what there was, long values
// too.
func TestRecordsPut(t *testing.T) {
	store := new(greylist.Memory)
	r := recordsAt(t, store)
	all := map[string]string{"long": strings.Repeat("x", maxBatch/2-1000)}
	for i := range 1000 {
		all[fmt.Sprint("k", i)] = fmt.Sprint("v", i)
	}
	for range 2 {
		if err := r.Put(t.Context(), all); err != nil {
			t.Fatal(err)
		}
		for key := range all {
			all[key] += "+"
		}
	}
	n := 0
	err := store.Scan(t.Context(), "", func(key, value string) bool {
		n++
		if value+"+" != all[key] {
			t.Errorf("%q holds %.20q, want %.20q", key, value, all[key])
		}
		return true
	})
	if err != nil || n != len(all) {
		t.Errorf("%d records, %v", n, err)
	}
	err = r.Put(t.Context(), map[string]string{"k": strings.Repeat("x", maxBatch)})
	wantError(t, err, 69, `the record of "k" is too long to be sent: stop the server, and ask again`)
}

// TestRecordsRefused: who may not see the store is told so, whatever is asked; a record
// that is too long, or a request of too many, is refused in words.
func TestRecordsRefused(t *testing.T) {
	store := new(greylist.Memory)
	long := strings.Repeat("x", maxBatch)
	if err := store.Update(t.Context(), "long", func(string, bool) (string, bool) { return long, true }); err != nil {
		t.Fatal(err)
	}
	r := recordsAt(t, store)
	_, _, err := r.Get(t.Context(), "long")
	wantError(t, err, 69, `the record of "long" is too long to be sent: stop the server, and ask again`)
	_, err = r.ask(t.Context(), Request{Do: Fetch, Keys: make([][]byte, maxRecords+1)}, collector{})
	wantError(t, err, 64, "more than 200 records")
	other := Records{Part: "other/", Dial: r.Dial}
	wantError(t, other.Look(t.Context()), 77, "not you")
	_, err = other.Delete(t.Context(), []string{"long"}, func(string, string) bool { return true })
	wantError(t, err, 77, "not you")
	wantError(t, other.Update(t.Context(), "a", func(string, bool) (string, bool) { return "b", true }), 77, "not you")
	wantError(t, other.Scan(t.Context(), "", func(string, string) bool { return true }), 77, "not you")
	if store.Len() != 1 {
		t.Errorf("%d records", store.Len())
	}
}

// TestRecordsOfAnOlderServer: one that knows none is known by what it says.
func TestRecordsOfAnOlderServer(t *testing.T) {
	path := start(t, Handler{})
	r := Records{Dial: func(ctx context.Context) (*Client, error) { return Dial(ctx, path) }}
	if err := r.Look(t.Context()); !Unknown(err) {
		t.Errorf("%v is not known as an older server's", err)
	}
	if err := error(&Error{77, "not you"}); Unknown(err) {
		t.Errorf("%v is an older server's", err)
	}
	if err := error(&Error{76, `request not understood: json: unknown field "part"`}); !Unknown(err) {
		t.Errorf("%v is not known as an older server's", err)
	}
}

// TestRecordsSwap: what has changed meanwhile is looked at again, and one that changes all
// the time is given up.
func TestRecordsSwap(t *testing.T) {
	store := new(greylist.Memory)
	r := recordsAt(t, store)
	other := func(value string) {
		if err := store.Update(t.Context(), "k", func(string, bool) (string, bool) { return value, true }); err != nil {
			t.Error(err)
		}
	}
	other("0")
	var seen []string
	err := r.Update(t.Context(), "k", func(old string, _ bool) (string, bool) {
		if seen = append(seen, old); len(seen) == 1 {
			other("1")
		}
		return old + "+", true
	})
	if value, _, _ := store.Get(t.Context(), "k"); err != nil || value != "1+" || !slices.Equal(seen, []string{"0", "1"}) {
		t.Errorf("it holds %q, seen %q, %v", value, seen, err)
	}
	n := 0
	err = r.Update(t.Context(), "k", func(string, bool) (string, bool) {
		n++
		other(fmt.Sprint("x", n))
		return "mine", true
	})
	wantError(t, err, 75, `"k" changes all the time, try again`)
	if n != maxSwaps {
		t.Errorf("%d tries, want %d", n, maxSwaps)
	}
}

// TestRequestsOfStrangers: only root and the server's user may send more than a verb, an ID
// and a reason need.
func TestRequestsOfStrangers(t *testing.T) {
	for uid, want := range map[int]string{71000: "", os.Geteuid(): `{"done":{"text":"0"}}`} {
		ours, theirs := socketPair(t)
		s := newServer(Handler{Store: func(Peer, string) (Store, error) { return new(greylist.Memory), nil }})
		go func() {
			defer theirs.Close()
			s.serve(t.Context(), theirs, Peer{UID: uid}, &answer{conn: theirs, until: time.Now().Add(time.Minute)})
		}()
		line, err := appendLine(nil, Request{Do: Exchange, Swaps: []Swap{{Key: []byte(strings.Repeat("x", maxRequest)), Old: octets("")}}})
		if err != nil {
			t.Fatal(err)
		}
		_, _ = ours.Write(line) // who is refused may be refused early
		got, _ := io.ReadAll(ours)
		if strings.TrimSpace(string(got)) != want {
			t.Errorf("uid %d got %.100q, want %q", uid, got, want)
		}
	}
}

// socketPair is two ends of a connection.
func socketPair(t *testing.T) (ours, theirs *net.UnixConn) {
	t.Helper()
	l, err := net.ListenUnix("unix", &net.UnixAddr{Name: filepath.Join(t.TempDir(), "s"), Net: "unix"})
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	ours, err = net.DialUnix("unix", nil, l.Addr().(*net.UnixAddr))
	if err == nil {
		theirs, err = l.AcceptUnix()
	}
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { ours.Close() })
	return ours, theirs
}

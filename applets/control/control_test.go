package control

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"iter"
	"net"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"

	"postoffice/internal/peer"
)

// start serves h on a socket of its own and returns its path; the server has
// ended when the test ends.
func start(t *testing.T, h Handler) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), "control")
	l, err := net.Listen("unix", path)
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	ended := make(chan error)
	go func() { ended <- Serve(ctx, l, h) }()
	t.Cleanup(func() {
		cancel()
		if err := <-ended; err != nil {
			t.Errorf("Serve: %v", err)
		}
	})
	return path
}

func dial(t *testing.T, path string) *Client {
	t.Helper()
	c, err := Dial(t.Context(), path)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { c.Close() })
	return c
}

// queue lists what the tests serve: a plain message, one with more recipients
// than fit on a line, an empty one.
func queue() []Message {
	at := time.Date(2026, 11, 24, 9, 30, 0, 0, time.UTC)
	big := Message{ID: "B2", Size: 1 << 40, Arrived: at, State: Deferred}
	for i := range 3000 {
		big.Recipients = append(big.Recipients, Recipient{
			Address: fmt.Sprintf("user%d@example.org", i), State: Deferred, Attempts: i,
			Next: at.Add(time.Hour), Reply: strings.Repeat(`451 "<later>" `, 10),
		})
		big.History = append(big.History, Note{Time: at, Address: "x", Attempt: i, Relay: "mx[192.0.2.1]:25", Err: "timeout"})
	}
	return []Message{
		{ID: "A1", Size: 12, Arrived: at, Sender: "a@example.org", State: Active, Recipients: []Recipient{{Address: "b@example.org", State: "pending"}}},
		big,
		{ID: "C3", Arrived: at, State: Corrupt, Reason: "no such format", Recipients: []Recipient{}},
	}
}

func listOf(all []Message) func(context.Context, Peer) iter.Seq2[Part, error] {
	return func(context.Context, Peer) iter.Seq2[Part, error] { return partsOf(all...) }
}

// partsOf parts each message as a queue does.
func partsOf(all ...Message) iter.Seq2[Part, error] {
	return func(yield func(Part, error) bool) {
		for _, m := range all {
			head := m
			head.Recipients, head.History = nil, nil
			parts := []Part{{Message: &head}, {Recipients: m.Recipients[:len(m.Recipients)/2]}, {Recipients: m.Recipients[len(m.Recipients)/2:]}, {History: m.History}}
			for _, p := range parts {
				if (p.Message != nil || len(p.Recipients)+len(p.History) > 0) && !yield(p, nil) {
					return
				}
			}
		}
	}
}

func TestListStreamsLongMessages(t *testing.T) {
	path := start(t, Handler{List: listOf(queue())})
	var got []Message
	for m, err := range dial(t, path).List(t.Context()) {
		if err != nil {
			t.Fatal(err)
		}
		got = append(got, m)
	}
	if diff := cmp.Diff(queue(), got); diff != "" {
		t.Errorf("List (-want +got):\n%.2000s", diff)
	}
	for m, err := range dial(t, path).List(t.Context()) {
		if err != nil || m.ID != "A1" {
			t.Errorf("first message %q, %v", m.ID, err)
		}
		break // leaving early is no error
	}
}

func TestLinesAreCapped(t *testing.T) {
	all := queue()
	all[0].Recipients[0].Reply = strings.Repeat("é", MaxLine) // alone too long for a line
	all[0].Reason = strings.Repeat("\x01", MaxLine)
	conn, err := net.Dial("unix", start(t, Handler{List: listOf(all)}))
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	fmt.Fprintf(conn, "{\"do\":\"list\"}\n")
	in, lines := bufio.NewReader(conn), 0
	for {
		line, err := in.ReadString('\n')
		if err == io.EOF {
			break
		}
		if err != nil {
			t.Fatal(err)
		}
		if lines++; len(line) > MaxLine {
			t.Errorf("line %d has %d octets, want at most %d", lines, len(line), MaxLine)
		}
	}
	if lines < 10 {
		t.Errorf("%d lines: the long message was not split", lines)
	}
}

func TestPeerIsTheKernelsWord(t *testing.T) {
	want := Peer{PID: os.Getpid(), UID: os.Getuid(), GID: os.Getgid()}
	var got Peer
	c := dial(t, start(t, Handler{Run: func(_ context.Context, p Peer) error { got = p; return nil }}))
	server, err := c.Peer()
	if err != nil || server != want {
		t.Errorf("Client.Peer() = %v, %v, want %v", server, err, want)
	}
	if err := c.Run(t.Context()); err != nil || got != want {
		t.Errorf("Run: %v, the handler saw %v, want %v", err, got, want)
	}
}

func TestShowAndVersion(t *testing.T) {
	path := start(t, Handler{
		Show: func(_ context.Context, _ Peer, id string) iter.Seq2[Part, error] {
			for _, m := range queue() {
				if m.ID == id {
					return partsOf(m)
				}
			}
			return func(yield func(Part, error) bool) { yield(Part{}, &Error{69, "no message " + id}) }
		},
		Version: func() string { return "1.2.3" },
	})
	m, err := dial(t, path).Show(t.Context(), "B2")
	if diff := cmp.Diff(queue()[1], m); err != nil || diff != "" {
		t.Errorf("Show: %v\n%.2000s", err, diff)
	}
	if text, err := dial(t, path).Version(t.Context()); text != "1.2.3" || err != nil {
		t.Errorf("Version() = %q, %v", text, err)
	}
	_, err = dial(t, path).Show(t.Context(), "Z9")
	wantError(t, err, 69, "no message Z9")
}

func wantError(t *testing.T, err error, code int, text string) {
	t.Helper()
	e := (*Error)(nil)
	if !errors.As(err, &e) || e.Code != code || !strings.Contains(e.Text, text) {
		t.Errorf("got error %v, want %d with %q", err, code, text)
	}
}

func TestErrors(t *testing.T) {
	path := start(t, Handler{
		Run: func(context.Context, Peer) error { return errors.New("disk on fire") },
		List: func(context.Context, Peer) iter.Seq2[Part, error] {
			return func(yield func(Part, error) bool) {
				_ = yield(Part{Message: &queue()[0]}, nil) && yield(Part{}, &Error{77, "not yours"})
			}
		},
	})
	wantError(t, dial(t, path).Run(t.Context()), 75, "disk on fire")
	_, err := dial(t, path).Version(t.Context())
	wantError(t, err, 69, "version")
	seen := 0
	for m, err := range dial(t, path).List(t.Context()) {
		if seen++; seen == 1 && m.ID == "A1" {
			continue
		}
		wantError(t, err, 77, "not yours")
	}
	if seen != 2 {
		t.Errorf("%d results, want a message and an error", seen)
	}
}

func TestBadRequests(t *testing.T) {
	path := start(t, Handler{Run: func(context.Context, Peer) error { t.Error("Run was called"); return nil }})
	for _, tt := range []struct{ name, send, want string }{
		{"no JSON", "run\n", "not understood"},
		{"unknown field", `{"do":"run","to":"x"}` + "\n", "not understood"},
		{"two requests", `{"do":"list"}{"do":"run"}` + "\n", "not understood"},
		{"path as ID", `{"do":"show","id":"../x"}` + "\n", "not understood"},
		{"unknown verb", `{"do":"stop"}` + "\n", "no request"},
		{"too long", strings.Repeat("x", MaxLine+1) + "\n", ""},
		{"cut short", `{"do":"run"}`, ""},
	} {
		t.Run(tt.name, func(t *testing.T) {
			conn, err := net.Dial("unix", path)
			if err != nil {
				t.Fatal(err)
			}
			defer conn.Close()
			if _, err := io.WriteString(conn, tt.send); err != nil {
				t.Fatal(err)
			}
			if err := conn.(*net.UnixConn).CloseWrite(); err != nil {
				t.Fatal(err)
			}
			got, _ := io.ReadAll(conn) // a reset says the same as an end
			if !strings.Contains(string(got), tt.want) || tt.want == "" && len(got) > 0 {
				t.Errorf("sent %.40q, got %q, want %q", tt.send, got, tt.want)
			}
		})
	}
}

// A83: two users who take all that they can leave places for others, uids without
// an account are one user, and root and the server's user are never turned away.
// The same holds for who asks and for who watches.
func TestShares(t *testing.T) {
	s := newServer(Handler{Nobody: func(uid int) bool { return uid >= 100_000 }})
	for _, n := range []int{maxConns, maxWatchers} {
		var room peer.Users
		var last func()
		enter := func(uid, tries int) (in int) {
			for range tries {
				if leave, _ := s.enter(&room, uid, n); leave != nil {
					in++
					last = leave
				}
			}
			return in
		}
		for _, tt := range []struct{ uid, want int }{{71000, 16}, {71001, 12}} {
			if got := enter(tt.uid, 500); got != tt.want {
				t.Errorf("uid %d has %d of %d places, want %d", tt.uid, got, n, tt.want)
			}
		}
		contained := 0
		for uid := range 1000 {
			contained += enter(100_000+uid, 1)
		}
		if contained != 9 {
			t.Errorf("1000 uids without an account have %d places, want the 9 of one user", contained)
		}
		for uid := range 20 {
			if enter(72000+uid, 1) != 1 {
				t.Errorf("user %d after them is turned away", uid)
			}
		}
		for uid := 73000; enter(uid, 1) == 1; uid++ {
		}
		last()
		if enter(74000, 1) != 1 || enter(74001, 1) != 0 {
			t.Error("leaving made not one place free")
		}
		if root, own := enter(0, 200), enter(os.Geteuid(), 200); root != 200 || own != 200 {
			t.Errorf("root has %d places of 200, the server's user %d", root, own)
		}
	}
}

// A83: who asked for much and doesn't read it goes after ten seconds where few
// places are left, with a pager too; else it has its time.
func TestUnread(t *testing.T) {
	for _, crowded := range []bool{true, false} {
		synctest.Test(t, func(t *testing.T) {
			ours, theirs := net.Pipe()
			defer ours.Close()
			defer theirs.Close()
			begun := time.Now()
			a := &answer{conn: theirs, until: begun.Add(watchWait), slow: true, crowded: func() bool { return crowded && time.Since(begun) > time.Hour }}
			err := a.fail(errors.New("nobody reads this"))
			want := watchWait
			if crowded {
				want = time.Hour + crowdWait
			}
			if got := time.Since(begun); !errors.Is(err, os.ErrDeadlineExceeded) || got > want || got < want-crowdWait {
				t.Errorf("crowded %v: given up after %v with %v, want %v", crowded, got, err, want)
			}
		})
	}
}

func TestServeEndsItsHandlers(t *testing.T) {
	path := filepath.Join(t.TempDir(), "control")
	l, err := net.Listen("unix", path)
	if err != nil {
		t.Fatal(err)
	}
	began, ended := make(chan bool), make(chan error)
	ctx, cancel := context.WithCancel(context.Background())
	go func() {
		ended <- Serve(ctx, l, Handler{Run: func(ctx context.Context, _ Peer) error {
			began <- true
			<-ctx.Done()
			return ctx.Err()
		}})
	}()
	asked := make(chan error)
	c := dial(t, path)
	go func() { asked <- c.Run(context.Background()) }()
	<-began
	cancel()
	if err := <-ended; err != nil {
		t.Errorf("Serve: %v", err)
	}
	if err := <-asked; err == nil {
		t.Error("Run: no error from a server that went away")
	}
}

// TestNoAnswer: a server that is stopped is told from one that is gone, and no
// socket's name of a moment is shown.
func TestNoAnswer(t *testing.T) {
	wrapped := &net.OpError{Op: "read", Net: "unix", Addr: &net.UnixAddr{Name: "/run/.control.77", Net: "unix"}, Err: os.ErrDeadlineExceeded}
	for _, tt := range []struct {
		err  error
		want string
	}{
		{wrapped, "doesn't answer for 1m0s"},
		{&net.OpError{Op: "read", Net: "unix", Addr: wrapped.Addr, Err: io.ErrUnexpectedEOF}, "unexpected EOF"},
	} {
		got := noAnswer(tt.err)
		if text := got.Error(); !strings.Contains(text, tt.want) || strings.Contains(text, ".control.") {
			t.Errorf("%v: %q, want %q", tt.err, text, tt.want)
		}
	}
}

// TestListenerClosed: where another socket has taken its place, Serve ends, but
// not before the requests that have begun.
func TestListenerClosed(t *testing.T) {
	path := filepath.Join(t.TempDir(), "control")
	l, err := net.Listen("unix", path)
	if err != nil {
		t.Fatal(err)
	}
	began, goOn, ended := make(chan bool), make(chan bool), make(chan error, 1)
	go func() {
		ended <- Serve(t.Context(), l, Handler{Run: func(context.Context, Peer) error {
			began <- true
			<-goOn
			return nil
		}})
	}()
	c, answer := dial(t, path), make(chan error)
	go func() { answer <- c.Run(t.Context()) }()
	<-began
	if err := l.Close(); err != nil {
		t.Fatal(err)
	}
	goOn <- true
	if err := <-answer; err != nil {
		t.Errorf("the request that had begun: %v", err)
	}
	if err := <-ended; !errors.Is(err, net.ErrClosed) {
		t.Errorf("Serve: %v, want net.ErrClosed", err)
	}
}

func TestClientGivesUpWithItsContext(t *testing.T) {
	began := make(chan bool)
	path := start(t, Handler{Run: func(ctx context.Context, _ Peer) error {
		close(began)
		<-ctx.Done() // until the server ends
		return nil
	}})
	ctx, cancel := context.WithCancel(t.Context())
	go func() { <-began; cancel() }()
	if err := dial(t, path).Run(ctx); !errors.Is(err, context.Canceled) {
		t.Errorf("Run: %v, want %v", err, context.Canceled)
	}
}

func TestSlowReaderIsCutOff(t *testing.T) {
	fds, err := net.Listen("unix", filepath.Join(t.TempDir(), "s"))
	if err != nil {
		t.Fatal(err)
	}
	defer fds.Close()
	reader, err := net.Dial("unix", fds.Addr().String()) // and never reads
	if err != nil {
		t.Fatal(err)
	}
	defer reader.Close()
	conn, err := fds.Accept()
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	a := &answer{conn: conn.(*net.UnixConn), until: time.Now().Add(50 * time.Millisecond)}
	for {
		if err := a.parts(partsOf(queue()[1])); err != nil {
			if !errors.Is(err, os.ErrDeadlineExceeded) {
				t.Errorf("got %v, want %v", err, os.ErrDeadlineExceeded)
			}
			return
		}
	}
}

func FuzzRequest(f *testing.F) {
	f.Add(`{"do":"list"}`)
	f.Add(`{"do":"show","id":"0K3XK9"}`)
	f.Add(`{"do":"run"} {"do":"run"}`)
	f.Add(`{"do":"watch","all":true,"run":true}`)
	f.Add(`{"do":"route","address":"a@b.example","sender":"c"}`)
	f.Add(`{"do":"watch","only":["0K3XK9",""]}`)
	f.Add(`{"do":"watch","only":[]}`)
	f.Fuzz(func(t *testing.T, in string) { // what is accepted survives the way back
		r, err := decodeRequest([]byte(in))
		if err != nil {
			return
		}
		line, err := appendLine(nil, r)
		if err != nil {
			t.Fatal(err)
		}
		if again, err := decodeRequest(line); err != nil || !cmp.Equal(again, r) {
			t.Errorf("%q: %v, then %v, %v", in, r, again, err)
		}
	})
}

// linesOf writes a whole message as lines.
func linesOf(m Message, write func([]byte) error) error {
	for p := range partsOf(m) {
		if err := partLines(p, write); err != nil {
			return err
		}
	}
	return nil
}

func FuzzAnswer(f *testing.F) {
	var lines []string
	for _, m := range []Message{queue()[0], queue()[2]} {
		if err := linesOf(m, func(b []byte) error { lines = append(lines, string(b)); return nil }); err != nil {
			f.Fatal(err)
		}
	}
	f.Add(strings.Join(lines, "") + `{"done":{}}` + "\n")
	err := eventLines(events(), func(b []byte) error { f.Add(string(b)); return nil })
	if err = errors.Join(err, stepLines(steps(), func(b []byte) error { f.Add(string(b)); return nil })); err != nil {
		f.Fatal(err)
	}
	f.Add(`{"error":{"code":77,"text":"no"}}` + "\n")
	f.Add(`{"recipients":[{"address":"a"}]}` + "\n")
	f.Add(`{"steps":[]}` + "\n")           // says nothing
	f.Fuzz(func(t *testing.T, in string) { // what a client takes, it would take again from us
		read := func(in string) (got []any, err error) {
			a := collector{
				show:  func(m Message) bool { got = append(got, m); return true },
				event: func(some []Event) bool { got = append(got, some); return true },
				steps: func(some []Step) bool { got = append(got, some); return true },
			}
			for line := range strings.Lines(in) {
				if _, over, err := a.add([]byte(line)); over || err != nil {
					return got, err
				}
			}
			return got, io.ErrUnexpectedEOF
		}
		got, _ := read(in)
		var out strings.Builder
		write := func(b []byte) error { out.Write(b); return nil }
		for _, x := range got {
			var err error
			switch x := x.(type) {
			case Message:
				err = linesOf(x, write)
			case []Event:
				err = eventLines(x, write)
			case []Step:
				err = stepLines(x, write)
			}
			if err != nil {
				return // a year that JSON can't hold
			}
			if len(out.String()) > MaxLine/2 {
				return // long texts are cut, and so would differ
			}
		}
		again, err := read(out.String() + "{\"done\":{}}\n")
		if err != nil || len(again) != len(got) || !slices.EqualFunc(got, again, same) {
			t.Errorf("%q: %v\ngot  %+v\nthen %+v", in, err, got, again)
		}
	})
}

// same compares two things as they look on the wire.
func same(a, b any) bool {
	x, errX := appendLine(nil, a)
	y, errY := appendLine(nil, b)
	return errX == nil && errY == nil && string(x) == string(y)
}

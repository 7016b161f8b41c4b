package milter

import (
	"context"
	"fmt"
	"io"
	"net"
	"path/filepath"
	"runtime"
	"strings"
	"testing"
	"time"

	"postoffice/internal/testenv"
	"postoffice/internal/testenv/testfilter"
)

// over has f serve one conversation over a real socket; gone is closed when it has
// ended.
func over(tb testing.TB, f *testfilter.Filter) (o Options, gone <-chan struct{}) {
	tb.Helper()
	done := make(chan struct{})
	return Options{Network: "unix", Address: filepath.Join(tb.TempDir(), "s"), Dial: func(_ context.Context, network, address string) (net.Conn, error) {
		l, err := net.Listen(network, address)
		if err != nil {
			return nil, err
		}
		defer l.Close()
		ours, err := net.Dial(network, address)
		if err != nil {
			return nil, err
		}
		theirs, err := l.Accept()
		if err != nil {
			return nil, err
		}
		go func() {
			defer close(done)
			f.Serve(theirs)
		}()
		return ours, nil
	}}, done
}

// TestA64NothingLeft: whatever a filter does on a real socket, neither a descriptor nor
// a goroutine is left of it.
func TestA64NothingLeft(t *testing.T) {
	talk := func(f *testfilter.Filter) {
		o, gone := over(t, f)
		if c, err := Dial(t.Context(), o); err == nil {
			wholeMessage(c)
			c.Quit()
		}
		<-gone
	}
	talk(new(testfilter.Filter))
	descriptors, goroutines := testenv.Descriptors(), runtime.NumGoroutine()
	for _, fault := range faults {
		if fault.hangs {
			continue // that takes real time
		}
		for _, at := range []byte("O" + commands) {
			f := &testfilter.Filter{Answers: map[byte]string{at: fault.octets}}
			if fault.closes {
				f.Closes = string(at)
			}
			talk(f)
		}
	}
	if !testenv.Eventually(func() bool {
		return testenv.Descriptors() == descriptors && runtime.NumGoroutine() <= goroutines
	}) {
		t.Errorf("%d descriptors and %d goroutines, %d and %d before", testenv.Descriptors(), runtime.NumGoroutine(), descriptors, goroutines)
	}
}

// TestClosed: that a filter has closed the connection is known before it is used again,
// whatever time the last step had.
func TestClosed(t *testing.T) {
	o, gone := over(t, &testfilter.Filter{Closes: "E"})
	c, err := Dial(t.Context(), o)
	testenv.Must(t, err)
	defer c.Quit()
	c.conn.SetDeadline(time.Unix(1, 0))
	if c.Closed() {
		t.Error("it counts as closed from the start")
	}
	if _, _, err := wholeMessage(c); err != nil {
		t.Error(err)
	}
	<-gone
	if !c.Closed() {
		t.Error("it doesn't count as closed")
	}
}

// TestNobodyThere: the error of a filter that isn't there says so.
func TestNobodyThere(t *testing.T) {
	_, err := Dial(t.Context(), Options{Network: "unix", Address: filepath.Join(t.TempDir(), "none")})
	if err == nil || err.Error() != "could not connect, no such file or directory" {
		t.Errorf("%v", err)
	}
	_, err = Dial(t.Context(), Options{Network: "tcp", Address: net.JoinHostPort(testenv.OwnAddress(), "1")})
	if err == nil || err.Error() != "could not connect, connection refused" {
		t.Errorf("%v", err)
	}
}

// TestMemory: 100 conversations, each in the middle of a message of 1 MB, have 16 MB
// together at most.
func TestMemory(t *testing.T) {
	piece := []byte(strings.Repeat("a line of a body\n", 60<<10/17))
	var before, after runtime.MemStats
	conns := make([]*Conn, 100)
	runtime.GC()
	runtime.ReadMemStats(&before)
	for i := range conns {
		o, _ := over(t, &testfilter.Filter{Forgets: true})
		c, err := Dial(t.Context(), o)
		if err != nil {
			t.Fatal(err)
		}
		defer c.Quit()
		conns[i] = c
		c.Mail("<a@c.example>", nil, nil)
		for range 17 {
			if _, err := c.Body(piece); err != nil {
				t.Fatal(err)
			}
		}
	}
	runtime.GC()
	runtime.ReadMemStats(&after)
	each := (int64(after.HeapAlloc) - int64(before.HeapAlloc)) / int64(len(conns))
	t.Logf("%d octets for each conversation, the filter's end included", each)
	if each > 160<<10 {
		t.Errorf("%d octets for each conversation", each)
	}
}

// BenchmarkMessage is a message of ten fields and 4 or 400 KB past a filter that says
// continue.
func BenchmarkMessage(b *testing.B) {
	for _, size := range []int{4 << 10, 400 << 10} {
		b.Run(fmt.Sprintf("%dKB", size>>10), func(b *testing.B) {
			o, _ := over(b, &testfilter.Filter{Forgets: true})
			c, err := Dial(b.Context(), o)
			if err != nil {
				b.Fatal(err)
			}
			defer c.Quit()
			body := []byte(strings.Repeat("a line of a body, as long as most lines are in mail\n", size/52))
			b.ReportAllocs()
			b.SetBytes(int64(len(body)))
			for b.Loop() {
				c.Mail("<a@c.example>", nil, macros)
				c.Rcpt("<b@us.example>", nil, macros)
				c.Data(macros)
				for range 10 {
					c.Header("Received", " from c.example by us.example; Mon, 30 Nov 2026 22:25:00 +0000")
				}
				c.EndOfHeader(macros)
				for rest := body; len(rest) > 0; rest = rest[min(64<<10, len(rest)):] {
					c.Body(rest[:min(64<<10, len(rest))])
				}
				if _, err := c.End(macros, io.Discard); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}

// macros are what a session says.
var macros = []Macro{{"i", "3XK9"}, {"j", "us.example"}, {"{mail_addr}", "a@c.example"}}

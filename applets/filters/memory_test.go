package filters

import (
	"fmt"
	"io"
	"log/slog"
	"net/netip"
	"runtime"
	"sync"
	"testing"

	"postoffice/applets/smtpd"
	"postoffice/internal/filterline"
	"postoffice/internal/smtp"
	"postoffice/internal/testenv"
	"postoffice/internal/testenv/testfilter"
)

// endless is a message whose body has as many lines as are asked for.
type endless struct{}

func (endless) ReadAt(p []byte, off int64) (int, error) {
	const head = "Subject: x\n\n"
	for i := range p {
		switch at := off + int64(i); {
		case at < int64(len(head)):
			p[i] = head[at]
		case at%64 == 63:
			p[i] = '\n'
		default:
			p[i] = 'x'
		}
	}
	return len(p), nil
}

// TestMemory: 100 sessions that are in the middle of showing a message of 25 MB each to a
// filter take no more than 16 MiB in all, beside the packet that the filter's end of each
// connection holds, which is another process's memory elsewhere.
func TestMemory(t *testing.T) {
	const (
		sessions = 100
		size     = 25 << 20
		packet   = 64 << 10 // octets
		most     = 16<<20 + sessions*packet
	)
	arrived, released := make(chan struct{}, sessions), make(chan struct{})
	f := &testfilter.Filter{Forgets: true, Answer: func(p testfilter.Packet) (string, bool) {
		if p.Command != 'B' {
			return "", false
		}
		arrived <- struct{}{}
		<-released
		return testfilter.Reply('a', ""), true
	}}
	lines, err := filterline.Parse(testenv.ServeFilter(t, f), func(s string) (string, bool) { return s, true })
	testenv.Must(t, err)
	set := New(Options{Filters: lines, Hostname: "us.example", Log: slog.New(slog.DiscardHandler)}, nil)
	before := inUse()
	var all sync.WaitGroup
	for i := range sessions {
		all.Go(func() {
			client := smtpd.Client{Addr: netip.MustParseAddrPort(fmt.Sprintf("203.0.%d.1:1", i)), Server: netip.MustParseAddrPort("192.0.2.1:25")}
			s := set.Session(&client)
			defer s.Close()
			tx := &smtpd.Transaction{ID: "Q", Client: &client, ReversePath: smtp.Path{Local: "a", Domain: "b.example"}}
			m := smtpd.NewMessage(endless{}, size, 0, func() (smtpd.Scratch, error) { return nil, io.ErrUnexpectedEOF })
			for _, v := range []smtpd.Verdict{s.Connect(t.Context()), s.Mail(t.Context(), tx), s.Data(t.Context(), tx), s.Message(t.Context(), tx, m)} {
				if !v.Accepted() {
					t.Errorf("session %d: %v", i, v.Reply)
				}
			}
		})
	}
	for range sessions {
		<-arrived
	}
	if used := inUse() - before; used > most {
		t.Errorf("%d sessions take %d KiB, want at most %d", sessions, used>>10, most>>10)
	} else {
		t.Logf("%d sessions take %d KiB", sessions, used>>10)
	}
	close(released)
	all.Wait()
}

// inUse is how many octets live in heap and stacks.
func inUse() int64 {
	runtime.GC()
	runtime.GC()
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	return int64(m.HeapAlloc + m.StackInuse)
}

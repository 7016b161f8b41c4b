package server

import (
	"bufio"
	"context"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/netip"
	"strings"
	"testing"
	"time"

	"postoffice/applets/smtpd"
	"postoffice/deliver"
	"postoffice/internal/disk"
	"postoffice/internal/disk/crashfs"
	"postoffice/internal/peer"
	"postoffice/internal/smtp"
	"postoffice/internal/testenv"
	"postoffice/spool"
	"postoffice/spool/envelope"
	"postoffice/spool/shares"
)

// smallSpool is a server whose queue is on a small file system, and that delivers
// nothing.
type smallSpool struct {
	*testing.T
	disk *crashfs.FS
	sys  *system
}

// start starts it, anew if it ran.
func (s *smallSpool) start() {
	s.Helper()
	log := slog.New(slog.DiscardHandler)
	ledger := shares.New(&shares.Who{Places: peer.Places{Server: 900}, Here: netip.Addr.IsLoopback})
	queue, err := spool.Open(spool.Options{FS: s.disk, Dir: "/q", MinFree: 1 << 20, Tally: ledger})
	if err != nil {
		s.Fatal(err)
	}
	s.Cleanup(func() { queue.Close() })
	if err := ledger.Count(s.Context(), queue.EachHead); err != nil {
		s.Fatal(err)
	}
	s.sys = &system{queue: queue, shares: ledger, log: log, runner: deliver.NewRunner(deliver.Options{Queue: queue})}
	s.sys.smtp = smtpd.New(smtpd.Options{
		Hostname: "us.example", Log: log, Crash: true,
		Queue:   inbox{queue: queue, shares: ledger, log: log, arrived: func(spool.ID, *smtpd.Transaction) {}},
		Checker: func(*smtpd.Client) smtpd.Checker { return smtpd.Accepting{} },
	})
}

// from is a conn that comes from an address.
type from struct {
	net.Conn
	addr string
}

func (f from) RemoteAddr() net.Addr {
	return net.TCPAddrFromAddrPort(netip.MustParseAddrPort(f.addr + ":4000"))
}

// send sends a message of so many octets, from an address or, as from maildrop/, of a
// uid, and returns the last reply.
func (s *smallSpool) send(who any, octets int) string {
	s.Helper()
	client, server := net.Pipe()
	done := make(chan struct{})
	go func() {
		defer close(done)
		if uid, ok := who.(int); ok {
			s.sys.smtp.ServeUser(context.Background(), server, uid)
		} else {
			s.sys.smtp.ServeConn(context.Background(), from{server, who.(string)}, smtpd.Relay)
		}
	}()
	defer func() { client.Close(); <-done }()
	r := bufio.NewReader(client)
	reply := func() string {
		for {
			line, err := r.ReadString('\n')
			if err != nil {
				s.Fatalf("%v: %v", who, err)
			}
			if line[3] != '-' {
				return strings.TrimSpace(line)
			}
		}
	}
	reply()
	text := strings.Repeat(strings.Repeat("x", 62)+"\r\n", octets/64)
	for _, say := range []string{"EHLO far", fmt.Sprintf("MAIL FROM:<s@far> SIZE=%d", len(text)), "RCPT TO:<bob@us.example>", "DATA", text + "."} {
		go io.WriteString(client, say+"\r\n")
		if got := reply(); got[0] > '3' || strings.HasSuffix(say, ".") {
			return got
		}
	}
	return ""
}

// fill sends until there is no room for who sends, and returns how many were taken.
func (s *smallSpool) fill(who any, octets int) (n int, last string) {
	s.Helper()
	for {
		if last = s.send(who, octets); !strings.HasPrefix(last, "250 ") {
			return n, last
		}
		n++
	}
}

// takes sends one that is to be taken.
func (s *smallSpool) takes(who any, octets int) {
	s.Helper()
	if got := s.send(who, octets); !strings.HasPrefix(got, "250 ") {
		s.Errorf("%v: %q, want 250", who, got)
	}
}

// refuses sends one that is not to be taken.
func (s *smallSpool) refuses(who any, octets int, words string) {
	s.Helper()
	if got := s.send(who, octets); !strings.HasPrefix(got, "452 4.3.1 ") || !strings.Contains(got, words) {
		s.Errorf("%v: %q, want 452 4.3.1 with %q", who, got, words)
	}
}

// within says that a number is one of those wanted.
func (s *smallSpool) within(what string, n, least, most int) {
	s.Helper()
	if n < least || n > most {
		s.Errorf("%s: %d messages, want %d to %d", what, n, least, most)
	}
}

const kibi = 1 << 10

// A81: whose mail waits in the queue has a share of the room. A network has a quarter,
// a user half of what the others leave; each is told, the others go on, and so do
// reports; a server that is started anew knows it, and what is removed is free.
func TestSharesOfQueue(t *testing.T) {
	testenv.NeedsRoot(t, "sets options that are root's")
	s := &smallSpool{T: t, disk: crashfs.New()}
	s.disk.SetSpace(disk.Space{Octets: 9 << 20, Inodes: 10_000, Total: 9 << 20}) // 8 MiB above minfree
	s.start()
	const words = "messages of yours with "
	n, last := s.fill("192.0.2.7", 64*kibi)
	if s.within("a quarter of 8 MiB", n, 28, 32); !strings.Contains(last, "from your network") {
		t.Errorf("a network is told %q", last)
	}
	s.takes("192.0.2.8", 64*kibi)
	n, last = s.fill(1001, 64*kibi)
	if s.within("half of 6 MiB", n, 42, 48); !strings.Contains(last, words) || !strings.Contains(last, "mailq") {
		t.Errorf("a user is told %q", last)
	}
	for range 2 {
		s.takes(1002, 64*kibi)
		s.takes("192.0.2.8", 64*kibi)
		s.takes(0, 256*kibi)
		s.refuses(1001, 64*kibi, words)
		s.refuses("192.0.2.7", 64*kibi, "from your network")
		s.start()
	}
	if !s.sys.wholeFits(64*kibi) || s.sys.wholeFits(2<<20) {
		t.Error("a report carries none of a small message back, or all of one that takes the room of others")
	}
	in, err := s.sys.queue.Create(envelope.Envelope{Arrived: time.Now(), Client: "bounce", Recipients: []smtp.Recipient{{Path: smtp.Path{Local: "bob"}}}})
	if err == nil {
		err = in.Commit()
	}
	if err != nil {
		t.Errorf("a report: %v", err)
	}
	err = s.sys.queue.EachHead(func(id, client string, _ int64) bool {
		if uid, _ := envelope.ClientUID(client); uid == 1001 {
			err = s.sys.runner.Remove(t.Context(), spool.ID(id), "root")
		}
		return err == nil
	})
	if err != nil {
		t.Fatal(err)
	}
	if s.takes(1001, 64*kibi); s.sys.queue.Room() != nil {
		t.Error(s.sys.queue.Room())
	}
}

// A81: a million messages of an octet take no more than a share of the inodes.
func TestSharesOfInodes(t *testing.T) {
	testenv.NeedsRoot(t, "sets options that are root's")
	s := &smallSpool{T: t, disk: crashfs.New()}
	s.disk.SetSpace(disk.Space{Octets: 1 << 40, Inodes: 200})
	s.start()
	n, _ := s.fill("192.0.2.7", 64)
	s.within("a quarter of the inodes", n, 40, 50)
	n, _ = s.fill(1001, 64)
	s.within("half of what is left", n, 65, 76)
	s.takes(1002, 64)
	s.takes("192.0.2.8", 64)
}

// A81: with room for all nobody is refused, however much waits.
func TestSharesOfBigDisk(t *testing.T) {
	s := &smallSpool{T: t, disk: crashfs.New()}
	s.disk.SetSpace(disk.Space{Octets: 1 << 40, Inodes: 1 << 30})
	s.start()
	for range 100 {
		s.takes("192.0.2.7", 64*kibi)
		s.takes(1001, 64*kibi)
	}
}

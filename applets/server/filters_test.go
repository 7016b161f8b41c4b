package server

import (
	"bufio"
	"context"
	"fmt"
	"io"
	"net"
	"net/netip"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"postoffice/applets/config"
	"postoffice/applets/control"
	"postoffice/applets/filters"
	"postoffice/applets/smtpd"
	"postoffice/internal/account"
	"postoffice/internal/filterline"
	"postoffice/internal/testenv"
	"postoffice/internal/testenv/testfilter"
)

// letterTo sends a message from outside, in a session of its own.
func letterTo(t *testing.T, s *system, to string) {
	t.Helper()
	ours, theirs := net.Pipe()
	ended := make(chan error)
	go func() { ended <- s.smtp.ServeConn(context.Background(), fromOutside{theirs}, smtpd.Relay) }()
	defer func() {
		ours.Close()
		<-ended
	}()
	r := bufio.NewReader(ours)
	for _, step := range []struct{ say, code string }{
		{"", "220"}, {"HELO x", "250"}, {"MAIL FROM:<>", "250"}, {"RCPT TO:<" + to + ">", "250"}, {"DATA", "354"}, {"Subject: x\r\n\r\nx\r\n.", "250"}, {"QUIT", "221"},
	} {
		if step.say != "" {
			if _, err := io.WriteString(ours, step.say+"\r\n"); err != nil {
				t.Fatal(err)
			}
		}
		line, err := r.ReadString('\n')
		if err != nil || !strings.HasPrefix(line, step.code+" ") {
			t.Fatalf("after %q: %q, %v, want %s", step.say, line, err, step.code)
		}
	}
}

// TestReloadFilters: a filter that a reload adds is asked, one that stays keeps its
// counts, and what one has done that is taken away is in the log, as that of the others
// is at the end. Root sees them, and a user doesn't.
func TestReloadFilters(t *testing.T) {
	testenv.NeedsRoot(t, "sets options that are root's")
	dir := t.TempDir()
	testenv.Must(t, os.WriteFile(filepath.Join(dir, "aliases"), nil, 0o644))
	var listening [3]string
	for i := range listening {
		f, at := &testfilter.Filter{}, fmt.Sprintf("%s/%d", dir, i)
		testenv.Must(t, os.Mkdir(at, 0o700))
		address, end, err := f.Listen(at)
		testenv.Must(t, err)
		listening[i] = fmt.Sprintf("%s name=f%d", address, i)
		t.Cleanup(func() {
			if err := end(); err != nil {
				t.Errorf("f%d: %v", i, err)
			}
		})
	}
	conf := func(lines ...string) *config.Config {
		c, err := config.Load(config.Options{File: os.DevNull, UID: os.Getuid(), Sets: append([]string{
			"queue-dir=" + filepath.Join(dir, "q"), "run-dir=" + filepath.Join(dir, "run"), "aliases=" + filepath.Join(dir, "aliases"),
			"minfree=0", "dns-server=127.0.0.1", "hostname=us.example", "local-domains=us.example", "verify-from=no",
		}, lines...)})
		testenv.Must(t, err)
		return c
	}
	log := &testenv.Log{}
	ctx, cancel := context.WithCancel(t.Context())
	s, err := assemble(ctx, conf("filter="+listening[0], "filter="+listening[1]), log.Logger(), ground{accounts: account.Only(account.Account{Name: "joe", UID: 1000, GID: 1000, Home: dir}), mailer: &laterMailer{}})
	testenv.Must(t, err)
	counts := func(want string) {
		t.Helper()
		var got []string
		for _, f := range s.filtersSeen(control.Peer{UID: 0}) {
			got = append(got, fmt.Sprintf("%s %s %d", f.Name, f.State, f.Messages))
		}
		if got := strings.Join(got, ", "); got != want {
			t.Errorf("filters: %s, want %s", got, want)
		}
	}
	letterTo(t, s, "joe@us.example")
	counts("f0 ok 1, f1 ok 1")
	s.reload(ctx, conf("filter="+listening[2], "filter="+listening[1]))
	letterTo(t, s, "joe@us.example")
	counts("f2 ok 1, f1 ok 2")
	if all := s.filtersSeen(control.Peer{UID: 71000}); len(all) > 0 {
		t.Errorf("a user sees %v", all)
	}
	s.reload(ctx, conf())
	letterTo(t, s, "joe@us.example")
	counts("")
	s.reload(ctx, conf("filter="+listening[0]))
	letterTo(t, s, "joe@us.example")
	counts("f0 ok 1") // it is another one
	cancel()
	s.stop()
	var lines []string
	for line := range strings.Lines(log.String()) {
		if _, line, ok := strings.Cut(line, `msg="filter counted" filter=`); ok {
			lines = append(lines, strings.TrimSpace(line))
		}
	}
	const rest = " refused=0 edited=0 failures=0"
	want := []string{"f0 messages=1" + rest, "f2 messages=1" + rest, "f1 messages=2" + rest, "f0 messages=1" + rest}
	if got := strings.Join(lines, "\n"); got != strings.Join(want, "\n") {
		t.Errorf("the log has\n%s\nwant\n%s", got, strings.Join(want, "\n"))
	}
}

// TestFiltersCountedDaily: the log has what filters have done once a day, and nothing of
// those that have done nothing.
func TestFiltersCountedDaily(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		log := &testenv.Log{}
		s := &system{}
		s.filters.Store(filters.New(filters.Options{Log: log.Logger(), Filters: []filterline.Filter{
			{Name: "busy", Address: "/nowhere", For: filterline.Received, Connect: time.Second}, {Name: "idle", Address: "/nowhere", For: filterline.Submitted, Connect: time.Second},
		}}, nil))
		session := s.filters.Load().Session(&smtpd.Client{Kind: smtpd.Relay, Addr: netip.MustParseAddrPort("192.0.2.7:25")})
		session.Connect(t.Context()) // and that fails
		session.Close()
		ctx, cancel := context.WithCancel(t.Context())
		var all sync.WaitGroup
		all.Go(func() { s.countFilters(ctx) })
		for day := range 3 {
			if n := strings.Count(log.String(), `msg="filter counted" filter=busy messages=0 refused=0 edited=0 failures=1`); n != day {
				t.Errorf("after %d days the log has it %d times:\n%s", day, n, log)
			}
			time.Sleep(countEvery)
			synctest.Wait()
		}
		if strings.Contains(log.String(), "filter=idle") {
			t.Errorf("who has done nothing is in the log:\n%s", log)
		}
		cancel()
		all.Wait()
	})
}

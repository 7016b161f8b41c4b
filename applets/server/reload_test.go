package server

import (
	"context"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"

	"postoffice/applets/cmdline"
	"postoffice/applets/config"
	"postoffice/applets/control"
	"postoffice/deliver/local"
	"postoffice/deliver/outcome"
	"postoffice/internal/account"
	"postoffice/internal/smtp"
	"postoffice/internal/testenv"
)

// laterMailer is a LocalMailer that never has a mailbox now.
type laterMailer struct{ tried atomic.Int64 }

func (m *laterMailer) Deliver(context.Context, string, local.Delivery) local.Result {
	m.tried.Add(1)
	return local.Result{Outcome: outcome.Outcome{Action: outcome.Deferred, Reply: smtp.Reply{Code: 450, Status: "4.2.0", Text: "locked"}}}
}

func (m *laterMailer) Run(context.Context, string, local.Job) local.Result { return local.Result{} }
func (m *laterMailer) Recorded(string)                                     {}

func (m *laterMailer) Forwards(context.Context, string, string) (bool, error) { return false, nil }

func (m *laterMailer) List(context.Context, local.Listing) ([]local.Line, error) { return nil, nil }

// TestReloadBesideRetry: a configuration is put in place while everything that
// looks at it is under way: `queue retry` and passes with queue-only, questions
// for routes, and the pick-up of maildrop/. The race detector judges, and
// afterwards the last configuration is in force.
func TestReloadBesideRetry(t *testing.T) {
	testenv.NeedsRoot(t, "sets options that are root's")
	const rounds = 20
	dir := t.TempDir()
	if err := os.WriteFile(filepath.Join(dir, "aliases"), nil, 0o644); err != nil {
		t.Fatal(err)
	}
	conf := func(i int) *config.Config {
		c, err := config.Load(config.Options{File: os.DevNull, UID: os.Getuid(), Sets: []string{
			"queue-dir=" + filepath.Join(dir, "q"), "run-dir=" + filepath.Join(dir, "run"), "aliases=" + filepath.Join(dir, "aliases"),
			"minfree=0", "dns-server=127.0.0.1", fmt.Sprintf("hostname=h%d.example", i), fmt.Sprintf("queue-only=%v", []string{"yes", "no"}[i%2]),
			fmt.Sprintf("local-domains=d%d.example", i),
		}})
		if err != nil {
			t.Fatal(err)
		}
		return c
	}
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	mailer := &laterMailer{}
	accounts := account.Only(account.Account{Name: "joe", UID: 1000, GID: 1000, Home: dir})
	s, err := assemble(ctx, conf(0), slog.New(slog.DiscardHandler), ground{accounts: accounts, mailer: mailer, maildrop: true})
	if err != nil {
		t.Fatal(err)
	}
	id := mailInto(t, s.queue, "joe@localhost")
	root := control.Peer{UID: os.Getuid()}
	var all sync.WaitGroup
	every := func(do func(i int)) {
		all.Go(func() {
			for i := range rounds {
				do(i)
			}
		})
	}
	every(func(int) {
		if err := s.act(ctx, ctx, root, control.Request{Do: control.Retry, ID: id}); err != nil {
			t.Errorf("retry: %v", err)
		}
	})
	every(func(int) { s.runNow(ctx) })
	every(func(int) {
		for _, err := range s.route(ctx, root, control.Request{Address: "joe", Sender: "joe"}) {
			if err != nil {
				t.Errorf("route: %v", err)
			}
		}
	})
	over := make(chan struct{})
	go func() {
		all.Wait()
		s.work.Wait()
		close(over)
	}()
	last := 0
	for more := true; more; last++ {
		s.reload(ctx, conf(last+1))
		select {
		case <-over:
			more = false
		default:
		}
	}
	if mailer.tried.Load() == 0 {
		t.Error("no pass has tried the message")
	}
	if got, want := s.settings.Load().self, fmt.Sprintf("h%d.example", last); got != want {
		t.Errorf("our name is %s, want %s", got, want)
	}
	cancel()
	s.stop()
}

// TestReloadRefusesRelay: what keeps a server from its start keeps a reload from being
// taken, also where the file can be read (B18).
func TestReloadRefusesRelay(t *testing.T) {
	cf := filepath.Join(t.TempDir(), "cf")
	write := func(text string) {
		t.Helper()
		if err := os.WriteFile(cf, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	write("")
	env := &cmdline.Env{}
	env.Prepare(cmdline.Applet{Name: "smtpd"}, []string{"-C", cf})
	if err := env.Parse(); err != nil {
		t.Fatal(err)
	}
	conf, err := env.Config()
	if err != nil {
		t.Fatal(err)
	}
	d := daemon{env: env, conf: conf, log: slog.New(slog.DiscardHandler)}
	for text, good := range map[string]bool{"relay=bs\n": true, "relay=no\n": true, "relay\n": false} {
		write(text)
		if _, err := d.reloaded(); (err == nil) != good {
			t.Errorf("%q: %v", text, err)
		}
	}
	d.deaf = true
	if _, err := d.reloaded(); err != nil {
		t.Errorf("a server that listens on no port: %v", err)
	}
}

// TestReloadKeepsPorts: ports stay as they were at the start, and the log says of each
// option what to do (decisions/0023).
func TestReloadKeepsPorts(t *testing.T) {
	cf := filepath.Join(t.TempDir(), "cf")
	write := func(text string) {
		t.Helper()
		if err := os.WriteFile(cf, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	write("listen=127.0.0.1:2525\n")
	env := &cmdline.Env{}
	env.Prepare(cmdline.Applet{Name: "smtpd"}, []string{"-C", cf})
	if err := env.Parse(); err != nil {
		t.Fatal(err)
	}
	conf, err := env.Config()
	if err != nil {
		t.Fatal(err)
	}
	var log strings.Builder
	d := daemon{env: env, conf: conf, log: slog.New(slog.NewTextHandler(&log, nil))}
	file := filepath.Join(t.TempDir(), "log")
	write("listen=127.0.0.1:2526\nmsp=2587\nmsps=2465\nlog=file:" + file + "\n")
	now, err := d.reloaded()
	if err != nil || !slices.Equal(now.Listen, conf.Listen) || now.MSP != 0 || now.MSPS != 0 {
		t.Errorf("%v, %d, %d, %v", now.Listen, now.MSP, now.MSPS, err)
	}
	if text, err := os.ReadFile(file); err != nil || strings.Count(string(text), "\n") != 1 || !strings.Contains(string(text), "option not changed option=log ") {
		t.Errorf("the log that is named newly has %q, %v", text, err)
	}
	for _, name := range []string{"listen", "msp", "msps", "log"} {
		if want := `msg="option not changed" option=` + name + ` reason="it is read at the start alone: restart the server"`; !strings.Contains(log.String(), want) {
			t.Errorf("no %s in\n%s", want, log.String())
		}
	}
}

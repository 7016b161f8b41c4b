package server

import (
	"context"
	"log/slog"
	"path/filepath"
	"testing"
	"testing/synctest"
	"time"

	"postoffice/deliver"
	"postoffice/deliver/route"
	"postoffice/internal/account"
	"postoffice/internal/alias"
	"postoffice/resolver"
	"postoffice/spool"
)

// TestRunEvery has -q TIME try the whole queue at once and after each TIME,
// whatever the messages' own times are (R68).
func TestRunEvery(t *testing.T) {
	dir := t.TempDir()
	synctest.Test(t, func(t *testing.T) {
		q, err := spool.Open(spool.Options{Dir: filepath.Join(dir, "q"), UID: -1, GID: -1})
		if err != nil {
			t.Fatal(err)
		}
		defer q.Close()
		mailInto(t, q, "joe@us.example")
		mailer := &laterMailer{}
		s := &system{queue: q, queueOnly: true, log: slog.New(slog.DiscardHandler), runner: deliver.NewRunner(deliver.Options{Queue: q, Local: mailer, Options: route.Options{
			Hostname: "us.example", Aliases: alias.Open(filepath.Join(dir, "aliases")),
			Accounts: account.Only(account.Account{Name: "joe", UID: 1000, GID: 1000, Home: "/"}),
			Resolver: resolver.New(resolver.Options{Servers: []string{"127.0.0.1"}}),
		}})}
		s.waiting = s.newWaiting()
		ctx, cancel := context.WithCancel(t.Context())
		s.work.Go(func() { s.runEvery(ctx, 2*time.Minute) })
		for want := range int64(5) {
			synctest.Wait()
			if got := mailer.tried.Load(); got != want+1 {
				t.Errorf("tried %d times after %d intervals, want %d", got, want, want+1)
			}
			<-time.After(2 * time.Minute)
		}
		cancel()
		s.work.Wait()
	})
}

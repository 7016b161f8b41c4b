package user

import (
	"context"
	"os"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"postoffice/deliver/local"
)

// TestScanner: only 0 is clean and only the status that says so is bad; whatever else
// happens, the message is looked at again (R28).
func TestScanner(t *testing.T) {
	if _, done := asUser(t, nil); done {
		return
	}
	p := newUser(t, nil)
	for _, tt := range []struct {
		script string
		want   string
		status string
		words  string
	}{
		{"cat > seen; exit 0", "delivered", "2.0.0", ""},
		{"exit 0", "delivered", "2.0.0", ""},
		{"echo Eicar-Test FOUND; exit 1", "bounced", "5.7.1", "found bad\nEicar-Test FOUND"},
		{"exit 2", "deferred", "4.3.0", "exit code 2"},
		{"exit 75", "deferred", "4.3.0", "exit code 75"},
		{"exit 127", "deferred", "4.3.0", "exit code 127"},
		{"kill -9 $$", "deferred", "4.3.0", "signal killed"},
		{"ulimit -f 1; exec dd if=/dev/zero of=filled bs=64k count=16 2>/dev/null", "deferred", "4.3.0", "signal"}, // no more room for it
		{"head -c 1000000000 /dev/zero; exit 0", "delivered", "2.0.0", ""},
		{"echo so far; sleep 9999", "deferred", "4.3.0", "ended\nso far"},
	} {
		limit := time.Minute
		if strings.Contains(tt.script, "9999") {
			limit = 3 * time.Second
		}
		write(t, p.path("scan"), "#!/bin/sh\n"+tt.script+"\n")
		must(t, os.Chmod(p.path("scan"), 0o700))
		p.o.Scanner = Scanner{Command: p.path("scan") + ` "one word"`, User: "alice", Time: limit, Infected: 1}
		r := p.Run(context.Background(), local.Job{
			User: "alice", Item: local.Item{Source: local.FromScanner, Name: "alice"}, Body: strings.NewReader("Subject: x\n\nhello\n"),
		})
		wants(t, tt.script, r, tt.want, tt.status, tt.words)
	}
	if got := p.file("seen"); got != "Subject: x\n\nhello\n" {
		t.Errorf("it read %q", got)
	}
	p.o.Scanner.User = "bob"
	r := p.Run(context.Background(), local.Job{User: "alice", Item: local.Item{Source: local.FromScanner, Name: "alice"}, Body: strings.NewReader("x")})
	wants(t, "another's", r, "deferred", "4.3.5", "runs as bob")
	if unix.Getuid() == 0 {
		t.Error("it ran as root")
	}
}

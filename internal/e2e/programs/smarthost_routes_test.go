//go:build e2e

package programs

import (
	"os"
	"strings"
	"testing"
	"time"

	"postoffice/internal/e2e/lan"
)

// TestRoutesAndCommand: lines of routes log in at a Postfix that demands it, with a password
// that a command prints, which runs as its user; a line with error refuses sendmail's
// caller at once, and check-relay tries each smarthost.
func TestRoutesAndCommand(t *testing.T) {
	one, smart, ca := demandingSmarthost(t)
	command, routes := one.Path("secret"), one.Path("routes")
	lan.WriteFile(t, command, "#!/bin/sh\nid -un >"+one.Path("tmp-user")+"\necho \"$RELAY_USER at $RELAY_HOST\" >>"+one.Path("tmp-user")+"\necho open sesame\n")
	lan.WriteFile(t, one.Path("tmp-user"), "")
	lan.WriteFile(t, routes, "from:alice@one.test submission://alice@one.test@smart.test\nfar.test submissions://alice@one.test@smart.test\ngone.test error that company is no more, write to bob@far.test\n")
	for file, mode := range map[string]os.FileMode{command: 0o755, routes: 0o644, one.Path("tmp-user"): 0o666} {
		if err := os.Chmod(file, mode); err != nil {
			t.Fatal(err)
		}
	}
	one.Configure("listen="+one.IP+":25", "relay-passwords="+one.Path("passwords"), "relay-tls="+ca, "routes="+routes, "relay-password-command=nobody:"+command)
	one.Serve()
	box := smart.Path("pf", "mail", "bob")
	one.Submit("alice", "Subject: by her line\n\n", "-i", "bob@far.test")
	one.Submit("carol", "Subject: by the domain's\n\n", "-i", "bob@far.test")
	for _, subject := range []string{"Subject: by her line", "Subject: by the domain's"} {
		lan.Until(t, 60*time.Second, subject, func() bool { return lan.Contains(box, subject) })
	}
	if n := countLines(box, "(Authenticated sender: alice@one.test)"); n != 2 {
		t.Errorf("%d messages by a login, want 2", n)
	}
	if text, err := os.ReadFile(one.Path("tmp-user")); string(text) != "nobody\nalice@one.test at smart.test\n" && string(text) != "nobody\n" || err != nil {
		t.Errorf("the command ran as %q, %v", text, err)
	}
	out, err := one.Command(t.Context(), lan.Binary, "sendmail", "-C", one.Config, "-i", "eve@gone.test").CombinedOutput()
	if err == nil || !strings.Contains(string(out), "that company is no more, write to bob@far.test") {
		t.Errorf("sendmail to a line with error: %v, %s", err, out)
	}
	if out, _ := one.Command(t.Context(), lan.Binary, "sendmail", "-C", one.Config, "-bv", "bob@far.test").CombinedOutput(); !strings.Contains(string(out), "as option routes says ("+routes+":2)") {
		t.Errorf("sendmail -bv: %s", out)
	}
	checked, err := one.Command(t.Context(), lan.Binary, "check-relay", "-C", one.Config).CombinedOutput()
	if n := strings.Count(string(checked), "alice@one.test is logged in, by SCRAM-SHA-256."); n != 2 || err != nil {
		t.Errorf("check-relay, %v:\n%s", err, checked)
	}
	if lan.Contains(one.Log, "open sesame") || lan.Contains(one.Log, "login failed") {
		t.Error("the log has a password, or a login that failed")
	}
}

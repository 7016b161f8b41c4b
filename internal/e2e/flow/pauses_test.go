//go:build e2e

package flow

import (
	"os"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"postoffice/internal/e2e/lan"
	"postoffice/internal/testenv"
)

// TestLoginPausesOfPasses: without a server that stays, a smarthost that refuses a login
// hears one, however many messages sendmail and runq try; another password is tried at
// once, and sends what waits.
func TestLoginPausesOfPasses(t *testing.T) {
	for _, mode := range lan.Modes {
		t.Run(mode.Name, func(t *testing.T) {
			l := lan.New(t)
			l.DNS("one.test. IN A 10.77.0.2", "smart.test. IN A 10.77.0.3")
			host, smart := l.Host("one.test"), l.Host("smart.test")
			s := mode.Install(host, "relay-host=smtp://me@smart.test:2525", "relay-tls=none", "relay-passwords="+host.Path("passwords"))
			password := func(text string) {
				t.Helper()
				lan.WriteFile(t, s.Path("passwords"), "smart.test me "+text+"\n")
				uid := 0
				if s.User != "" {
					uid = lan.Alice.UID
				}
				if err := os.Chmod(s.Path("passwords"), 0o600); err != nil {
					t.Fatal(err)
				}
				os.Chown(s.Path("passwords"), uid, uid)
			}
			password("the-old-one")
			var tried atomic.Int32
			sink := &testenv.Sink{Hostname: "smart.test", Users: map[string]string{"me": "the-new-one"}, Answer: func(ev testenv.Event) testenv.Action {
				if ev.Verb == "AUTH" {
					tried.Add(1)
				}
				return testenv.Action{}
			}}
			go sink.Serve(smart.Listen("2525"))
			t.Cleanup(sink.Close)
			var sending sync.WaitGroup
			for range 3 { // whose passes wait for each other
				sending.Go(func() {
					if code, _, complaint := s.Says(s.User, "Subject: x\n\n", "sendmail", "bob@far.test"); code != 0 {
						t.Errorf("sendmail: %d, %s", code, complaint)
					}
				})
			}
			sending.Wait()
			for range 3 {
				s.Applet("runq")
			}
			if n := tried.Load(); n != 1 {
				t.Errorf("three messages at once and three runs made %d logins, want 1", n)
			}
			if list := s.Applet("mailq"); strings.Count(list, "login of me at smart.test refused") < 3 {
				t.Errorf("mailq shows\n%s", list)
			}
			password("the-new-one")
			s.Applet("runq")
			s.Drained(30 * time.Second)
			if all := sink.Await(t, 3); len(all) != 3 {
				t.Errorf("%d messages came", len(all))
			}
			if _, err := os.Stat(s.Path("queue", "login-pauses")); err == nil {
				t.Error("the file is left of a login that works")
			}
		})
	}
}

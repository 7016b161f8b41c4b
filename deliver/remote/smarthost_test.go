//go:debug x509negativeserial=1

package remote

import (
	"bytes"
	"context"
	"crypto/sha256"
	"crypto/tls"
	"encoding/pem"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/netip"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"postoffice/deliver/outcome"
	"postoffice/deliver/remote/login"
	"postoffice/internal/smarthost"
	"postoffice/internal/testenv"
)

// vault has one password, or says why there is none.
type vault struct {
	mu       sync.Mutex
	password string
	asked    int
}

func (v *vault) Password(_ context.Context, host, user string, _ bool) (string, error) {
	v.mu.Lock()
	defer v.mu.Unlock()
	v.asked++
	if v.password == "" {
		return "", errors.New("the file has no line for them")
	}
	return v.password, nil
}

func (v *vault) set(password string) {
	v.mu.Lock()
	defer v.mu.Unlock()
	v.password = password
}

const secret = "pass word"

// smarthostWorld is a smarthost at mx.example and who sends to it.
type smarthostWorld struct {
	*pooled
	sink  *testenv.Sink
	vault *vault
	keep  *login.Keeper
	log   *bytes.Buffer
	seen  *bytes.Buffer // the transcript
	hop   Hop
}

// newSmarthost makes the world of a smarthost that is written like this. Its certificate
// is for mx.example.
func newSmarthost(t *testing.T, text string, change func(*testenv.Sink, *smarthost.Trust)) *smarthostWorld {
	t.Helper()
	h, err := smarthost.Parse(text)
	if err != nil {
		t.Fatal(err)
	}
	cert, _ := testenv.Certificate(t, "mx.example")
	file := filepath.Join(t.TempDir(), "ca.pem")
	ca := pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: cert.Certificate[0]})
	if err := os.WriteFile(file, append([]byte("\ufeff"), ca...), 0o644); err != nil { // as some editors begin a file
		t.Fatal(err)
	}
	w := &smarthostWorld{pooled: newPooled(t, false), vault: &vault{password: secret}, log: &bytes.Buffer{}, seen: &bytes.Buffer{}}
	w.sink = &testenv.Sink{TLS: &tls.Config{Certificates: []tls.Certificate{cert}}, TLSFirst: h.Scheme == smarthost.Submissions, Users: map[string]string{"me@example.org": secret}}
	trust := smarthost.Trust{CAFile: file}
	if change != nil {
		change(w.sink, &trust)
	}
	w.keep = login.NewKeeper(w.vault)
	w.keep.Use(trust, slog.New(slog.NewTextHandler(w.log, nil)))
	port := h.PortOr(25)
	w.pooled.world.sink(fmt.Sprintf("192.0.2.1:%d", port), w.sink)
	w.hop = HopToRelay(h, []Target{{Host: "mx.example", Addrs: []netip.Addr{netip.MustParseAddr("192.0.2.1")}, Port: port}})
	return w
}

// send sends a message and returns its outcome.
func (w *smarthostWorld) send(name string) outcome.Outcome {
	w.t.Helper()
	got := make(chan outcome.Outcome, 1)
	j := w.job(w.hop, name, 1)
	j.Options.Logins = w.keep
	j.Transcript = func() Transcript {
		return func(relay string, dir byte, line string) { fmt.Fprintf(w.seen, "%c %s\n", dir, line) }
	}
	j.Answer = func(x Answer) { got <- x.Outcomes[0] }
	w.Add(j)
	o := <-got
	synctest.Wait() // until its session can be had again
	return o
}

// close ends all and looks for the password where it must not be.
func (w *smarthostWorld) close() {
	w.t.Helper()
	w.end()
	if all := w.log.String() + w.seen.String(); strings.Contains(all, secret) || strings.Contains(all, "cGFzcyB3b3Jk") {
		w.t.Errorf("the password is told:\n%s", all)
	}
}

// TestLogins are smarthosts that take mail from whoever logs in.
func TestLogins(t *testing.T) {
	for _, tt := range []struct {
		relay      string
		mechanisms []string
		want       string // the login
	}{
		{"submissions://me@example.org@mx.example", nil, "PLAIN me@example.org " + secret},
		{"submission://me@example.org@mx.example", nil, "PLAIN me@example.org " + secret},
		{"smtp://me@example.org@mx.example", nil, "PLAIN me@example.org " + secret},
		{"submissions://me@example.org@mx.example:2465", []string{"LOGIN"}, "LOGIN me@example.org " + secret},
		{"submission://me%40example.org;auth=login@mx.example", nil, "LOGIN me@example.org " + secret},
		{"submission://me@example.org;auth=XOAUTH2@mx.example", []string{"XOAUTH2", "PLAIN"}, "XOAUTH2 me@example.org " + secret},
	} {
		synctest.Test(t, func(t *testing.T) {
			w := newSmarthost(t, tt.relay, func(s *testenv.Sink, _ *smarthost.Trust) { s.Mechanisms = tt.mechanisms })
			defer w.close()
			for _, name := range []string{"a", "b"} {
				if o := w.send(name); o.Action != outcome.Delivered || !strings.HasPrefix(o.TLS, "TLS 1.3") {
					t.Errorf("%s: %+v", tt.relay, o)
				}
			}
			if got := w.sink.Logins(); len(got) != 1 || got[0] != tt.want {
				t.Errorf("%s: %q, want %q once", tt.relay, got, tt.want)
			}
			if w.log.Len() > 0 {
				t.Errorf("%s: told: %s", tt.relay, w.log)
			}
		})
	}
}

// TestLoginFails: whatever goes wrong with TLS or a login is a deferral that says what
// to do, and the next message has the same words without a connection.
func TestLoginFails(t *testing.T) {
	answer := func(verb, text string) func(*testenv.Sink, *smarthost.Trust) {
		return func(s *testenv.Sink, _ *smarthost.Trust) { s.Answer = at(verb, reply(text)) }
	}
	certificate := func(names ...string) func(*testenv.Sink, *smarthost.Trust) {
		return func(s *testenv.Sink, tr *smarthost.Trust) {
			cert, _ := testenv.Certificate(t, names...)
			s.TLS.Certificates[0] = cert
		}
	}
	const tlsFirst, startTLS = "submissions://me@example.org@mx.example", "submission://me@example.org@mx.example"
	for _, tt := range []struct {
		name, relay string
		change      func(*testenv.Sink, *smarthost.Trust)
		want        string // in the words
		code        int
		logins      int
	}{
		{"535", tlsFirst, answer("AUTH", "535 5.7.8 no"), "look at user and password in relay-passwords", 535, 1},
		{"454", tlsFirst, answer("AUTH", "454 4.7.0 later"), "login of me@example.org at mx.example not checked now", 454, 1},
		{"530 to AUTH", tlsFirst, answer("AUTH", "530 5.7.0 no"), "look at user and password in relay-passwords", 530, 1},
		{"534", startTLS, answer("AUTH", "534 5.7.9 too weak"), "name another mechanism", 534, 1},
		{"drops after AUTH", tlsFirst, func(s *testenv.Sink, _ *smarthost.Trust) { s.Answer = at("AUTH", drop) }, "connection ended within the login", 0, 1},
		{"closes after AUTH", tlsFirst, answer("AUTH", "421 4.7.0 pass word?"), "connection ended within the login", 0, 1},
		{"offers nothing", tlsFirst, answer("EHLO", "250 mx.example"), "no way to log in", 0, 0},
		{"offers nothing that we know", tlsFirst, answer("EHLO", "250-mx.example\n250 AUTH GSSAPI"), "no way to log in", 0, 0},
		{"tokens alone", tlsFirst, answer("EHLO", "250-mx.example\n250 AUTH XOAUTH2"), "relay-password-command", 0, 0},
		{"no STARTTLS", startTLS, func(s *testenv.Sink, _ *smarthost.Trust) { s.TLS = nil }, "offers no STARTTLS", 0, 0},
		{"STARTTLS refused", startTLS, answer("STARTTLS", "454 4.7.0 not now"), "offers no STARTTLS", 454, 0},
		{"STARTTLS ahead of a login by smtp://", "smtp://me@example.org@mx.example", func(s *testenv.Sink, _ *smarthost.Trust) { s.TLS = nil }, "a login or relay-tls demands it", 0, 0},
		{"wrong certificate", tlsFirst, certificate("mx.example"), "from an authority that is not trusted here", 0, 0},
		{"the system's authorities", tlsFirst, func(_ *testenv.Sink, tr *smarthost.Trust) { *tr = smarthost.Trust{} }, "this machine has no list of authorities", 0, 0},
		{"expired certificate", tlsFirst, func(*testenv.Sink, *smarthost.Trust) { time.Sleep(11 * 365 * 24 * time.Hour) }, "its certificate holds from 1999-01-01 to 2010-01-01", 0, 0},
		{"name mismatch", "submissions://me@example.org@other.example", nil, "its certificate is for mx.example and not for other.example", 0, 0},
		{"fingerprint", tlsFirst, func(_ *testenv.Sink, tr *smarthost.Trust) { *tr = smarthost.Trust{Fingerprint: [32]byte{1}} }, "not the one that relay-tls names", 0, 0},
		{"in clear where TLS comes first", tlsFirst, func(s *testenv.Sink, _ *smarthost.Trust) { s.TLSFirst = false }, "look whether scheme and port", 0, 0},
		{"no file of authorities", tlsFirst, func(_ *testenv.Sink, tr *smarthost.Trust) { tr.CAFile = "/nonexistent/ca" }, "relay-tls: stat /nonexistent/ca", 0, 0},
	} {
		t.Run(tt.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				w := newSmarthost(t, tt.relay, tt.change)
				defer w.close()
				first := w.send("a")
				sessions := w.sink.Sessions()
				second := w.send("b")
				for _, o := range []outcome.Outcome{first, second} {
					if o.Action != outcome.Deferred || o.Err == nil || !strings.Contains(o.Err.Error(), tt.want) || o.Reply.Code != tt.code {
						t.Errorf("%+v, want a deferral with %q and %d", o, tt.want, tt.code)
					}
				}
				unasked := tt.name == "no file of authorities"
				if n := w.sink.Sessions(); n != sessions && !unasked || len(w.sink.Logins()) != tt.logins {
					t.Errorf("%d more sessions and %d logins, want none and %d", n-sessions, len(w.sink.Logins()), tt.logins)
				}
				if n := strings.Count(w.log.String(), "login failed"); n != 1 {
					t.Errorf("told %d times:\n%s", n, w.log)
				}
			})
		})
	}
}

// TestFingerprint: the one certificate that is named is good, whatever its name and
// dates.
func TestFingerprint(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newSmarthost(t, "submissions://me@example.org@other.example", func(s *testenv.Sink, tr *smarthost.Trust) {
			*tr = smarthost.Trust{Fingerprint: sha256.Sum256(s.TLS.Certificates[0].Certificate[0])}
		})
		defer w.close()
		if o := w.send("a"); o.Action != outcome.Delivered {
			t.Errorf("%+v", o)
		}
	})
}

// TestNoPassword: nobody connects without one, and it is told once.
func TestNoPassword(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newSmarthost(t, "submissions://me@example.org@mx.example", nil)
		defer w.close()
		w.vault.set("")
		for range 3 {
			if o := w.send("a"); o.Action != outcome.Deferred || !strings.Contains(o.Err.Error(), "no password for me@example.org at mx.example: the file has no line") {
				t.Errorf("%+v", o)
			}
		}
		if n := strings.Count(w.log.String(), "login failed"); n != 1 || w.sink.Sessions() != 0 {
			t.Errorf("told %d times, %d sessions", n, w.sink.Sessions())
		}
		if w.keep.Mended(t.Context()) {
			t.Error("mended without a password")
		}
		w.vault.set(secret)
		if !w.keep.Mended(t.Context()) || w.keep.Mended(t.Context()) {
			t.Error("a password is there, which is no news, or is so twice")
		}
		if o := w.send("b"); o.Action != outcome.Delivered {
			t.Errorf("%+v", o)
		}
	})
}

// TestLoginStorm: from however many messages there is one login at a time, and the next
// one after a pause that grows; another password ends it.
func TestLoginStorm(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newSmarthost(t, "submissions://me@example.org@mx.example", func(s *testenv.Sink, _ *smarthost.Trust) {
			s.Users["me@example.org"] = "another"
		})
		defer w.close()
		start := time.Now()
		var at []time.Duration
		for time.Since(start) < 12*time.Hour {
			for range 5 { // of different submitters, all at once
				if o := w.send("m"); o.Action != outcome.Deferred || o.Reply.Code != 535 {
					t.Fatalf("%+v", o)
				}
			}
			for len(at) < len(w.sink.Logins()) {
				at = append(at, time.Since(start))
			}
			time.Sleep(time.Minute)
		}
		least := time.Duration(0)
		for i, pause := range []time.Duration{0, 2 * time.Minute, 5 * time.Minute, 15 * time.Minute, 30 * time.Minute, time.Hour, time.Hour} {
			if least += pause; at[i] < least || at[i] > least*6/5+time.Duration(i+1)*time.Minute {
				t.Errorf("login %d after %v, want it after %v", i+1, at[i], least)
			}
		}
		if n := len(at); n > 17 {
			t.Errorf("%d logins in 12 hours", n)
		}
		if w.keep.Mended(t.Context()) {
			t.Error("mended with the same password")
		}
		before := len(w.sink.Logins())
		w.vault.set("another")
		if !w.keep.Mended(t.Context()) {
			t.Error("another password is no news")
		}
		if o := w.send("z"); o.Action != outcome.Delivered || len(w.sink.Logins()) != before+1 {
			t.Errorf("%+v after %d logins", o, len(w.sink.Logins())-before)
		}
		if !strings.Contains(w.log.String(), "login works") {
			t.Errorf("not told that it works:\n%s", w.log)
		}
	})
}

// TestReloadTriesAgain: new settings end the pause, but not what is known of failures.
func TestReloadTriesAgain(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newSmarthost(t, "submissions://me@example.org@mx.example", func(s *testenv.Sink, _ *smarthost.Trust) {
			s.Users["me@example.org"] = "another"
		})
		defer w.close()
		w.send("a")
		for range 3 {
			if !w.keep.Use(w.keep.Trust(), slog.New(slog.NewTextHandler(w.log, nil))) {
				t.Error("nobody has waited")
			}
			w.send("b")
			w.send("c")
		}
		if n := len(w.sink.Logins()); n != 4 || !strings.Contains(w.log.String(), "attempt=4") {
			t.Errorf("%d logins, want 4:\n%s", n, w.log)
		}
	})
}

// TestOneMoreSession: where there is a session, a refusal for now is of one more, and
// nobody waits for it.
func TestOneMoreSession(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h, err := smarthost.Parse("submissions://u@mx.example")
		if err != nil {
			t.Fatal(err)
		}
		k := login.NewKeeper(&vault{password: "x"})
		begin := func() *login.Turn {
			turn, err := k.Begin(t.Context(), h)
			if err != nil {
				t.Fatal(err)
			}
			return turn
		}
		first := begin()
		if err := first.End(nil); err != nil {
			t.Fatal(err)
		}
		busy := &login.Failure{Words: "busy"}
		busy.Reply.Code = 454
		begin().End(busy)
		begin().End(busy)
		first.Leave()
		begin().End(busy)
		if _, err := k.Begin(t.Context(), h); err != busy {
			t.Errorf("%v: with no session there it is a failure like any other", err)
		}
	})
}

// TestClearPassword: a password goes without TLS to this machine, or where
// relay-tls=none allows it, and nowhere else.
func TestClearPassword(t *testing.T) {
	for _, tt := range []struct {
		name string
		from net.IP // the other end of the connection
		none bool
		want outcome.Action
	}{
		{"to another machine", net.IPv4(192, 0, 2, 1), false, outcome.Deferred},
		{"told otherwise", net.IPv4(192, 0, 2, 1), true, outcome.Delivered},
		{"to this machine", net.IPv4(127, 0, 0, 1), false, outcome.Delivered},
	} {
		synctest.Test(t, func(t *testing.T) {
			w := newSmarthost(t, "smtp://me@example.org@mx.example", func(s *testenv.Sink, tr *smarthost.Trust) {
				s.TLS = nil
				*tr = smarthost.Trust{None: tt.none}
			})
			defer w.close()
			w.peers[mxAddr] = func(context.Context) (net.Conn, error) {
				client, server := net.Pipe()
				go w.sink.ServeConn(server)
				return from{client, &net.TCPAddr{IP: tt.from, Port: 25}}, nil
			}
			if o := w.send("a"); o.Action != tt.want || len(w.sink.Logins()) > 0 != (tt.want == outcome.Delivered) {
				t.Errorf("%s: %+v, %q", tt.name, o, w.sink.Logins())
			}
		})
	}
}

// from is a connection with somebody at an address.
type from struct {
	net.Conn
	remote net.Addr
}

func (f from) RemoteAddr() net.Addr { return f.remote }

// TestLoginRequireTLS: what needs TLS up to its recipients goes through a login to a
// smarthost that stands in for that, by the certificate that relay-tls names, and to no
// other.
func TestLoginRequireTLS(t *testing.T) {
	for ext, want := range map[string]string{"REQUIRETLS": "delivered 250", "PIPELINING": "bounced 550"} {
		for _, relay := range []string{"submissions://me@example.org@mx.example", "submission://me@example.org@mx.example"} {
			synctest.Test(t, func(t *testing.T) {
				w := newSmarthost(t, relay, func(s *testenv.Sink, _ *smarthost.Trust) { s.Extensions = []string{ext} })
				defer w.close()
				w.hop.Targets[0].Vouched = true
				w.hop = w.hop.Secured(Required)
				if got := words([]outcome.Outcome{w.send("a")}); got != want {
					t.Errorf("%s, %s: %s, want %s", relay, ext, got, want)
				}
			})
		}
	}
}

// TestNegativeSerial: a certificate whose serial number is negative, as some devices make
// them, is as good as another where its fingerprint is asked for, and where any will do.
func TestNegativeSerial(t *testing.T) {
	negative := func(cert tls.Certificate) tls.Certificate {
		der := bytes.Replace(cert.Certificate[0], []byte{0xa0, 3, 2, 1, 2, 2, 1, 1}, []byte{0xa0, 3, 2, 1, 2, 2, 1, 0x81}, 1)
		if bytes.Equal(der, cert.Certificate[0]) {
			t.Fatal("the certificate has another serial number")
		}
		return tls.Certificate{Certificate: [][]byte{der}, PrivateKey: cert.PrivateKey}
	}
	synctest.Test(t, func(t *testing.T) {
		w := newSmarthost(t, "submissions://me@example.org@other.example", func(s *testenv.Sink, tr *smarthost.Trust) {
			s.TLS.Certificates[0] = negative(s.TLS.Certificates[0])
			*tr = smarthost.Trust{Fingerprint: sha256.Sum256(s.TLS.Certificates[0].Certificate[0])}
		})
		defer w.close()
		if o := w.send("a"); o.Action != outcome.Delivered {
			t.Errorf("by fingerprint: %+v", o)
		}
	})
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		cert, _ := testenv.Certificate(t, "mx.example")
		w.sink(mxAddr, &testenv.Sink{TLS: &tls.Config{Certificates: []tls.Certificate{negative(cert)}}})
		if results := deliver(t, w.options(), message(plain, "a")); words(results) != "delivered 250" || results[0].TLS == "" {
			t.Errorf("by chance: %+v", results)
		}
	})
}

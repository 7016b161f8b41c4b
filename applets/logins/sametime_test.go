package logins

import (
	"bufio"
	"bytes"
	"context"
	"encoding/base64"
	"errors"
	"net"
	"net/netip"
	"path/filepath"
	"runtime"
	"strings"
	"sync/atomic"
	"testing"

	"postoffice/applets/logins/accounts"
	"postoffice/applets/logins/dovecot"
	"postoffice/applets/smtpd/login"
	"postoffice/internal/hashes"
	"postoffice/internal/sasl"
	"postoffice/internal/testenv"
)

// known are the accounts of one source.
type known map[string]accounts.Account

func (k known) Find(_ context.Context, name string) (accounts.Account, error) {
	a, ok := k[name]
	if !ok {
		return a, accounts.ErrNone
	}
	return a, nil
}

func (known) Scram() (some, all bool) { return true, false }

// refusing is a service of Dovecot's that has carol, and counts the passwords that it
// is asked about.
func refusing(t *testing.T, asked *atomic.Int32) login.Source {
	t.Helper()
	path := filepath.Join(t.TempDir(), "auth")
	l, err := net.Listen("unix", path)
	testenv.Must(t, err)
	t.Cleanup(func() { l.Close() })
	go func() {
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			go func() {
				defer c.Close()
				c.Write([]byte("VERSION\t1\t2\nMECH\tPLAIN\tplaintext\nDONE\n"))
				for r := bufio.NewScanner(c); r.Scan(); {
					if _, said, ok := strings.Cut(r.Text(), "\tresp="); ok {
						asked.Add(1)
						say := "FAIL\t1\tuser=x\n"
						if b, _ := base64.StdEncoding.DecodeString(said); bytes.HasPrefix(b, []byte("\x00carol\x00")) {
							say = "FAIL\t1\tuser=carol\n"
						}
						c.Write([]byte(say))
					}
				}
			}()
		}
	}()
	return dovecot.New(path)
}

// TestSameWork: with all kinds of sources at once a wrong password, a name that there
// isn't, an account that is closed, and one without a hash or a verifier cost the same
// work, whichever source has the account: as many hashes, and one question to Dovecot; and
// the client hears the same words (A66). Hashes are counted by the memory that each takes,
// of which a login takes nothing else worth mentioning: the work is the same on a busy
// machine too. TestBenchSameTime has the times.
func TestSameWork(t *testing.T) {
	h, err := hashes.New("sesame")
	testenv.Must(t, err)
	v, err := sasl.NewVerifier("sesame")
	testenv.Must(t, err)
	kind := func(domain string) known {
		all := known{}
		for _, a := range []accounts.Account{
			{Name: "alice", Hash: h, Verifier: v.String()}, {Name: "closed", Hash: h, Verifier: v.String(), Closed: errors.New("it is disabled")},
			{Name: "locked", Hash: "!" + h}, {Name: "none"}, {Name: "odd", Hash: "no hash", Verifier: "no verifier"},
		} {
			a.Name += domain
			all[a.Name] = a
		}
		return all
	}
	var asked atomic.Int32
	var sources []login.Source
	for _, domain := range []string{"@v.example", ""} {
		s, err := accounts.New(kind(domain), []byte("secret"))
		testenv.Must(t, err)
		sources = append(sources, s)
	}
	all := InOrder(append(sources, refusing(t, &asked))...)

	// try logs in from an address that nobody has used, and returns how many octets of memory
	// that took, how often Dovecot was asked, and the replies.
	n := 0
	try := func(by, name string) (int64, int32, string) {
		n++
		c := login.Client{Addr: netip.AddrPortFrom(netip.AddrFrom4([4]byte{10, 1, byte(n), 1}), 1)}
		before, was := allocated(), asked.Load()
		offer := login.Offer{Source: all, Only: []string{login.Plain, login.Login, sasl.ScramSHA256}}
		said := "PLAIN " + base64.StdEncoding.EncodeToString([]byte("\x00"+name+"\x00wrong"))
		if by == sasl.ScramSHA256 {
			said = by + " " + base64.StdEncoding.EncodeToString([]byte("n,,n="+name+",r=client"))
		}
		d, r := login.Begin(t.Context(), offer, c, said)
		defer d.Close()
		text := r.String()
		if r.Code == 334 {
			challenge, err := base64.StdEncoding.DecodeString(r.Text)
			nonce, _, ok := strings.Cut(string(challenge), ",")
			if err != nil || !ok {
				t.Fatalf("%s: challenge %q", name, challenge)
			}
			proof := base64.StdEncoding.EncodeToString(make([]byte, 32))
			text = "334 and " + d.Line(t.Context(), []byte(base64.StdEncoding.EncodeToString([]byte("c=biws,"+nonce+",p="+proof)))).String()
		}
		return allocated() - before, asked.Load() - was, text
	}
	hashing := allocated()
	_, err = hashes.New("x")
	testenv.Must(t, err)
	hashing = allocated() - hashing
	for _, tt := range []struct {
		by     string
		hashes int64
		asked  int32
		reply  string
	}{{login.Plain, 2, 1, "535 5.7.8 "}, {sasl.ScramSHA256, 0, 0, "334 and 535 5.7.8 "}} {
		first := ""
		for _, name := range []string{
			"alice@v.example", "closed@v.example", "locked@v.example", "none@v.example", "odd@v.example",
			"alice", "closed", "locked", "none", "odd", "carol", "nobody@v.example", "nobody@w.example", "nobody",
		} {
			memory, asked, text := try(tt.by, name)
			if got := (memory + hashing/2) / hashing; got != tt.hashes || asked != tt.asked {
				t.Errorf("%s as %s: %d hashes (%d octets, one has %d) and %d questions to Dovecot, want %d and %d", tt.by, name, got, memory, hashing, asked, tt.hashes, tt.asked)
			}
			if first == "" {
				first = text
			}
			if text != first || !strings.HasPrefix(text, tt.reply) {
				t.Errorf("%s as %s: %q, and %q before", tt.by, name, text, first)
			}
		}
	}
	if r := right(t, all, "alice@v.example"); r.Answer != login.Yes { // it is no wall
		t.Errorf("the right password: %+v", r)
	}
}

// right logs in with the right password.
func right(t *testing.T, s login.Source, name string) login.Result {
	x := s.Begin(login.Client{Addr: netip.MustParseAddrPort("10.2.0.1:1")}, login.Plain)
	defer x.Close()
	_, r := x.Step(t.Context(), []byte("\x00"+name+"\x00sesame"))
	return r
}

// allocated is how many octets this process has asked for since it began.
func allocated() int64 {
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	return int64(m.TotalAlloc)
}

package accounts

import (
	"context"
	"errors"
	"fmt"
	"net/netip"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"postoffice/applets/smtpd/login"
	"postoffice/internal/hashes"
	"postoffice/internal/sasl"
)

// table are accounts by their names; away is asked for nothing.
type table struct {
	all   map[string]Account
	away  error
	scram bool // each of them has a verifier
	none  bool // none has
}

func (t table) Find(_ context.Context, name string) (Account, error) {
	name = strings.TrimSuffix(strings.ToLower(name), ".")
	a, ok := t.all[name]
	switch {
	case t.away != nil:
		return Account{}, t.away
	case !ok:
		return Account{Name: name}, ErrNone
	}
	return a, nil
}

func (t table) Scram() (some, all bool) { return !t.none, t.scram }

// some are accounts of each kind, all with the password "sesame".
func some(t testing.TB) table {
	t.Helper()
	v, err := sasl.NewVerifier("sesame")
	if err != nil {
		t.Fatal(err)
	}
	h, err := hashes.New("sesame")
	if err != nil {
		t.Fatal(err)
	}
	return table{scram: true, all: map[string]Account{
		"alice@a.example":       {Name: "alice@a.example", Hash: h, Verifier: v.String()},
		"closed@a.example":      {Name: "closed@a.example", Hash: h, Verifier: v.String(), Closed: errors.New("it is disabled")},
		"locked@a.example":      {Name: "locked@a.example", Hash: "!" + h},
		"odd@a.example":         {Name: "odd@a.example", Hash: "secret", Verifier: "x"},
		"plain@a.example":       {Name: "plain@a.example", Hash: "{PLAIN}sesame"},
		"j\u00fcrgen@a.example": {Name: "j\u00fcrgen@a.example", Hash: h, Verifier: v.String()},
	}}
}

var client = login.Client{Addr: netip.MustParseAddrPort("192.0.2.7:4000")}

// tryPlain logs in by PLAIN.
func tryPlain(t testing.TB, s *Source, c login.Client, name, password string) login.Result {
	t.Helper()
	x := s.Begin(c, sasl.Plain)
	defer x.Close()
	_, r := x.Step(t.Context(), []byte("\x00"+name+"\x00"+password))
	return r
}

// tryScram logs in by SCRAM.
func tryScram(t testing.TB, s *Source, c login.Client, mechanism, name, password string) login.Result {
	t.Helper()
	_, ours, err := sasl.Choose([]string{mechanism}, sasl.Credentials{User: name, Secret: password, Binding: c.Bindings.Best()})
	if err != nil {
		t.Fatal(err)
	}
	x := s.Begin(c, mechanism)
	defer x.Close()
	said, err := ours.Next(nil)
	for err == nil {
		challenge, r := x.Step(t.Context(), said)
		if r.Answer == login.Yes && ours.Done() != nil {
			t.Errorf("%s is let in by a server that proved nothing", name)
		}
		if r.Answer != login.Asks {
			return r
		}
		said, err = ours.Next(challenge)
	}
	return login.Result{Err: err}
}

func newSource(t testing.TB, a Accounts) *Source {
	t.Helper()
	s, err := New(a, []byte("secret"))
	if err != nil {
		t.Fatal(err)
	}
	return s
}

// TestLogins: each kind of account, by each mechanism.
func TestLogins(t *testing.T) {
	s := newSource(t, some(t))
	bound := client
	bound.Bindings = sasl.Bindings{{Name: "tls-exporter", Data: []byte("here")}}
	for _, tt := range []struct {
		name, password string
		plain, scram   login.Answer
	}{
		{"alice@a.example", "sesame", login.Yes, login.Yes}, {"ALICE@A.example", "sesame", login.Yes, login.Yes},
		{"alice@a.example", "Sesame", login.No, login.No}, {"alice@a.example", "", login.No, login.No},
		{"closed@a.example", "sesame", login.No, login.No}, {"locked@a.example", "sesame", login.No, login.No}, {"odd@a.example", "secret", login.No, login.No},
		{"plain@a.example", "sesame", login.Yes, login.No}, {"nobody@a.example", "sesame", login.Unknown, login.Unknown},
	} {
		if r := tryPlain(t, s, client, tt.name, tt.password); r.Answer != tt.plain || r.Answer == login.Yes && r.User != strings.ToLower(tt.name) || told(r) {
			t.Errorf("PLAIN %s %q: %+v", tt.name, tt.password, r)
		}
		if r := tryScram(t, s, client, sasl.ScramSHA256, tt.name, tt.password); r.Answer != tt.scram || told(r) {
			t.Errorf("SCRAM %s %q: %+v", tt.name, tt.password, r)
		}
		if r := tryScram(t, s, bound, sasl.ScramSHA256Plus, tt.name, tt.password); r.Answer != tt.scram {
			t.Errorf("bound SCRAM %s %q: %+v", tt.name, tt.password, r)
		}
	}
	for _, written := range []string{"j\u00fcrgen@a.example", "ju\u0308rgen@a.example", "\uff4a\u00fcrgen@a.example"} { // composed, parted, a wide letter
		if r := tryPlain(t, s, client, written, "sesame"); r.User != "j\u00fcrgen@a.example" {
			t.Errorf("PLAIN %q: %+v", written, r)
		}
		if r := tryScram(t, s, client, sasl.ScramSHA256, written, "sesame"); r.User != "j\u00fcrgen@a.example" {
			t.Errorf("SCRAM %q: %+v", written, r)
		}
	}
	away := some(t)
	away.away = errors.New("the disk is away")
	s = newSource(t, away)
	if r := tryPlain(t, s, client, "alice@a.example", "sesame"); r.Answer != login.Later || r.Err == nil {
		t.Errorf("away: %+v", r)
	}
	if r := tryScram(t, s, client, sasl.ScramSHA256, "alice@a.example", "sesame"); r.Answer != login.Later {
		t.Errorf("away: %+v", r)
	}
}

// told reports whether a result holds a password or a hash.
func told(r login.Result) bool {
	return r.Err != nil && (strings.Contains(r.Err.Error(), "sesame") || strings.Contains(r.Err.Error(), "secret") || strings.Contains(r.Err.Error(), "$"))
}

// TestMechanisms: SCRAM is offered where each account can do it, and by an option where
// some can.
func TestMechanisms(t *testing.T) {
	a := some(t)
	if got := newSource(t, a).Mechanisms(); len(got) != 3 {
		t.Errorf("%v", got)
	}
	names := func(only ...string) string {
		return strings.Join(login.Offer{Source: newSource(t, a), Only: only, Bound: true}.Names(), " ")
	}
	a.scram = false
	if got := names(); got != "PLAIN LOGIN" {
		t.Errorf("where some have no verifier: %q", got)
	}
	if got := names("SCRAM-SHA-256", "LOGIN"); got != "SCRAM-SHA-256 LOGIN" {
		t.Errorf("by an option: %q", got)
	}
	a.none = true
	if got := names("SCRAM-SHA-256", "PLAIN"); got != "PLAIN" {
		t.Errorf("where nobody has one: %q", got)
	}
}

// TestNobodys: a name that there isn't has a challenge of the form of all others, the same
// each time but for the nonce, and by each way to write it.
func TestNobodys(t *testing.T) {
	salt := func(s *Source, name string) string {
		challenge, r := s.Begin(client, sasl.ScramSHA256).Step(t.Context(), []byte("n,,n="+name+",r=x"))
		if r.Answer != login.Asks {
			t.Fatalf("%s: %+v", name, r)
		}
		_, after, _ := strings.Cut(string(challenge), ",")
		return after
	}
	all := some(t)
	s, again := newSource(t, all), newSource(t, all)
	for _, name := range []string{"alice@a.example", "nobody@a.example", "closed@a.example", "plain@a.example", "j\u00fcrgen@a.example", "b\u00e4r@a.example"} {
		parted := strings.NewReplacer("\u00fc", "u\u0308", "\u00e4", "a\u0308").Replace(name)
		for _, written := range []string{strings.ToUpper(name[:1]) + name[1:], name + ".", parted} {
			if a, b := salt(s, name), salt(s, written); a != b {
				t.Errorf("%q has %s, and written as %q %s: an account has one", name, a, written, b)
			}
		}
		if a, b := salt(s, name), salt(again, name); a != b {
			t.Errorf("%s: %s, then %s", name, a, b)
		}
		if a, b := salt(s, name), salt(s, "alice@a.example"); len(a) != len(b) || strings.Split(a, ",i=")[1] != strings.Split(b, ",i=")[1] {
			t.Errorf("%s has %s, and an account %s", name, a, b)
		}
	}
}

// TestGuesses: 30 wrong passwords from everywhere, and nobody from elsewhere gets in for
// a while, by the right one neither; who was in before does, and others' accounts are not
// concerned.
func TestGuesses(t *testing.T) {
	all := some(t)
	all.all["alice@a.example"] = Account{Name: "alice@a.example", Hash: "{PLAIN}sesame"}
	synctest.Test(t, func(t *testing.T) {
		s := newSource(t, all)
		at := func(n int) login.Client {
			return login.Client{Addr: netip.MustParseAddrPort(fmt.Sprintf("198.51.%d.7:4000", n))}
		}
		if r := tryPlain(t, s, client, "alice@a.example", "sesame"); r.Answer != login.Yes {
			t.Fatal(r)
		}
		for i := range 100 {
			want := login.No
			if i >= maxGuesses {
				want = login.Later
			}
			if r := tryPlain(t, s, at(i), []string{"alice@a.example", "alice@a.example."}[i%2], "x"); r.Answer != want { // by each way to write the name
				t.Fatalf("guess %d: %+v", i, r)
			}
			if r := tryPlain(t, s, at(i), "nobody@a.example", "x"); (r.Answer == login.Later) != (want == login.Later) {
				t.Fatalf("guess %d at a name that there isn't: %+v", i, r)
			}
		}
		if r := tryPlain(t, s, at(200), "alice@a.example", "sesame"); r.Answer != login.Later {
			t.Errorf("from a network that is not known: %+v", r)
		}
		if r := tryPlain(t, s, client, "alice@a.example", "sesame"); r.Answer != login.Yes {
			t.Errorf("the owner is kept out: %+v", r)
		}
		if r := tryPlain(t, s, at(200), "plain@a.example", "sesame"); r.Answer != login.Yes {
			t.Errorf("another account is kept out: %+v", r)
		}
		time.Sleep(time.Hour)
		if r := tryPlain(t, s, at(200), "alice@a.example", "sesame"); r.Answer != login.Yes {
			t.Errorf("an hour later: %+v", r)
		}
		for i := range 3 * maxKnown {
			s.guesses.right(fmt.Sprint(i), "x")
		}
		if n := len(s.guesses.known); n > maxKnown {
			t.Errorf("%d are remembered", n)
		}
	})
}

// FuzzStep: whatever a client says, an exchange answers, and lets nobody in.
func FuzzStep(f *testing.F) {
	all := some(f)
	all.all["alice@a.example"] = Account{Name: "alice@a.example", Hash: "{PLAIN}" + "a password that is not guessed"}
	s := newSource(f, all)
	f.Add(false, "\x00alice@a.example\x00x", "")
	f.Add(true, "n,,n=alice@a.example,r=x", "c=biws,r=x,p=AAAA")
	f.Fuzz(func(t *testing.T, scram bool, first, second string) {
		mechanism := sasl.Plain
		if scram {
			mechanism = sasl.ScramSHA256
		}
		s.guesses = guesses{}
		x := s.Begin(client, mechanism)
		for _, said := range []string{first, second, ""} {
			if _, r := x.Step(t.Context(), []byte(said)); r.Answer == login.Yes {
				t.Errorf("%q %q: %+v", first, second, r)
			}
		}
	})
}

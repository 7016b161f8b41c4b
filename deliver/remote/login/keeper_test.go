package login

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"postoffice/internal/smarthost"
	"postoffice/internal/smtp"
	"postoffice/internal/testenv"
)

// nobodys has no password, and counts who asks.
type nobodys struct{ asked int }

func (n *nobodys) Password(context.Context, string, string, bool) (string, error) {
	n.asked++
	return "", errors.New("none")
}

func host(t *testing.T, n int) smarthost.Host {
	t.Helper()
	h, err := smarthost.Parse(fmt.Sprintf("submissions://u%d@smart.test", n))
	if err != nil {
		t.Fatal(err)
	}
	return h
}

// TestForgets: accounts that nothing wants for a day are forgotten, and their passwords not
// asked for any more; there is an end to how many are remembered, and those that are in
// use stay.
func TestForgets(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := &nobodys{}
		k := NewKeeper(p)
		for i := range 5 {
			k.Begin(t.Context(), host(t, i))
		}
		time.Sleep(forgetWait - time.Hour)
		k.Begin(t.Context(), host(t, 0))
		time.Sleep(2 * time.Hour)
		p.asked = 0
		k.Mended(t.Context())
		if p.asked != 1 || len(k.known) != 1 {
			t.Errorf("asked for %d passwords, %d accounts; want 1", p.asked, len(k.known))
		}

		k = NewKeeper(nil)
		kept, err := smarthost.Parse("submissions://kept.test")
		if err != nil {
			t.Fatal(err)
		}
		turn, err := k.Begin(t.Context(), kept)
		if err != nil {
			t.Fatal(err)
		}
		for i := range 2 * maxKnown {
			time.Sleep(time.Second)
			k.Begin(t.Context(), host(t, i))
		}
		if _, there := k.known[kept.String()]; !there || len(k.known) > maxKnown {
			t.Errorf("%d accounts, the one that is in use among them: %v", len(k.known), there)
		}
		if err := turn.End(nil); err != nil {
			t.Error(err)
		}
		time.Sleep(2 * forgetWait)
		k.Begin(t.Context(), host(t, 0))
		if _, there := k.known[kept.String()]; !there {
			t.Error("an account with a session is forgotten")
		}
		turn.Leave()
		k.Mended(t.Context())
		if _, there := k.known[kept.String()]; there || k.known[host(t, 0).String()].asked != 0 {
			t.Errorf("after its session: %v", k.known)
		}
	})
}

// slate is a Memory.
type slate struct{ text []byte }

func (s *slate) Read() ([]byte, error) { return s.text, nil }

func (s *slate) Write(text []byte) error {
	s.text = text
	return nil
}

// knows has one password.
type knows string

func (k knows) Password(context.Context, string, string, bool) (string, error) { return string(k), nil }

// TestRemember: a process that begins while another one's pause lasts tries nothing, unless
// the password or relay-tls is another one, and counts on from there; a login that works leaves nothing.
func TestRemember(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := &slate{}
		failure := &Failure{Reply: smtp.Reply{Code: 535, Status: "5.7.8", Text: "no"}, Words: "it was refused"}
		var trust smarthost.Trust
		begin := func(password string) (*Turn, error) {
			t.Helper()
			k := NewKeeper(knows(password))
			k.Use(trust, slog.New(slog.DiscardHandler))
			k.Remember(s)
			return k.Begin(t.Context(), host(t, 1))
		}
		for n, pause := range pauses[:3] {
			turn, err := begin("the old one")
			if err != nil {
				t.Fatalf("try %d: %v", n+1, err)
			}
			turn.End(failure)
			time.Sleep(pause - time.Second)
			_, err = begin("the old one")
			if f, ok := errors.AsType[*Failure](err); !ok || f.Reply != failure.Reply || f.Words != failure.Words {
				t.Errorf("within pause %d: %v", n+1, err)
			}
			if _, err = begin("a new one"); err != nil {
				t.Errorf("another password within pause %d: %v", n+1, err)
			}
			trust.None = !trust.None
			if _, err = begin("the old one"); err != nil {
				t.Errorf("another relay-tls within pause %d: %v", n+1, err)
			}
			trust.None = !trust.None
			time.Sleep(pause/5 + time.Second)
		}
		if text := string(s.text); text == "" || strings.Contains(text, "the old one") {
			t.Errorf("kept: %s", text)
		}
		turn, err := begin("a new one")
		if err != nil {
			t.Fatal(err)
		}
		turn.End(nil)
		if s.text != nil {
			t.Errorf("a login that works leaves %s", s.text)
		}
		s.text = []byte(`{"Key":"eA==","Accounts":{"` + host(t, 1).String() + `":{"Failures":1,"Again":"9999-01-01T00:00:00Z"}}}`)
		if _, err := begin("x"); err == nil {
			t.Error("a time far away is no pause")
		}
		s.text = []byte("junk")
		k := NewKeeper(knows("x"))
		log := &testenv.Log{}
		k.Use(smarthost.Trust{}, log.Logger())
		k.Remember(s)
		if _, err := k.Begin(t.Context(), host(t, 1)); err != nil {
			t.Errorf("with junk: %v", err)
		}
		if text := log.Take(); !strings.Contains(text, "login pause not kept") {
			t.Errorf("junk is no word in the log: %s", text)
		}
	})
}

// TestRememberInTurn: processes that wait for the queue of the one before them know of its
// failure.
func TestRememberInTurn(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := &slate{}
		var all [3]*Keeper
		for i := range all {
			all[i] = NewKeeper(knows("x"))
			all[i].Remember(s)
		}
		turn, err := all[0].Begin(t.Context(), host(t, 1))
		if err != nil {
			t.Fatal(err)
		}
		turn.End(&Failure{Reply: smtp.Reply{Code: 535, Text: "no"}, Words: "it was refused"})
		for _, k := range all[1:] {
			if _, err := k.Begin(t.Context(), host(t, 1)); err == nil {
				t.Error("one more login is tried")
			}
		}
	})
}

package login

import (
	"context"
	"errors"
	"fmt"
	"testing"
	"testing/synctest"
	"time"

	"postoffice/internal/smarthost"
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

package server

import (
	"os"
	"strings"
	"testing"

	"postoffice/applets/config"
	"postoffice/deliver/route"
	"postoffice/spool/envelope"
)

func routeSteps() []route.DryStep {
	in := func(s envelope.AgentSource, name, owner string) route.File {
		return route.File{Via: envelope.Via{Source: s, Name: name}, Owner: owner}
	}
	return []route.DryStep{
		{Recipient: "team", How: route.HowAlias, Name: "team", Read: in("alias", "team", ""), Sender: "amy", UID: -1},
		{Depth: 1, Recipient: "bob", File: "/etc/aliases", Line: 2, How: route.HowForward, Name: "bob", Read: in("forward", "bob", "bob"), Sender: "owner-team", UID: -1},
		{Depth: 2, Recipient: "|vacation", File: "/home/bob/.forward", Line: 1, How: route.HowProgram, User: "bob", UID: 1002, Sender: "owner-team"},
		{Depth: 2, Recipient: `\bob`, File: "/home/bob/.forward", Line: 1, How: route.HowMailbox, User: "bob", UID: 1002, Extension: "x", Sender: "owner-team"},
		{Depth: 1, Recipient: ":include:/srv/list", File: "/etc/aliases", Line: 3, How: route.HowList, Read: in("list", "team", "carol"), Sender: "owner-team", UID: -1},
		{Depth: 2, Recipient: "secret@x.example", File: "/srv/list", Line: 1, How: route.HowRemote, UID: -1, Sender: "owner-team", RelayHost: "hub:26",
			Hosts: []route.DryHost{{Name: "hub", Port: 26, Addrs: []string{"192.0.2.1", "2001:db8::1"}}, {Name: "hub2", Port: 26, Addrs: []string{"192.0.2.2"}}}},
		{Depth: 1, Recipient: "/var/log/m", File: "/etc/aliases", Line: 4, How: route.HowFile, User: "nobody", UID: 65534, Sender: "owner-team"},
		{Depth: 1, Recipient: "mapped", File: "/etc/aliases", Line: 4, How: route.HowUsermap, Name: "*@x", Read: in("usermap", "mapped", ""), Sender: "owner-team", UID: -1},
		{Depth: 2, Recipient: "ghost\x1b", How: route.HowFailure, Code: 550, Status: "5.1.1", Reason: "no such user", Permanent: true, Sender: "owner-team", UID: -1},
		{Depth: 1, Recipient: "carol", File: "/etc/aliases", Line: 5, How: route.HowFailure, Code: 450, Status: "4.3.0", Reason: "locked", Sender: "owner-team", UID: -1},
		{Depth: 1, Recipient: "x@y.example", File: "/etc/aliases", Line: 5, How: route.HowFailure, Status: "4.4.1", Reason: "temporary DNS failure", Sender: "owner-team", UID: -1},
	}
}

// TestRouteView: what other users have written for themselves is not shown,
// what the postmaster has is.
func TestRouteView(t *testing.T) {
	for _, tt := range []struct{ user, want string }{
		{"amy", "team bob(hidden) :include:/srv/list(hidden) /var/log/m mapped(hidden) carol x@y.example"},
		{"", "team bob(hidden) :include:/srv/list(hidden) /var/log/m mapped(hidden) carol x@y.example"},
		{"carol", "team bob(hidden) :include:/srv/list secret@x.example /var/log/m mapped(hidden) carol x@y.example"},
		{"bob", `team bob |vacation \bob :include:/srv/list(hidden) /var/log/m mapped(hidden) carol x@y.example`},
	} {
		v := view{Viewer: route.Viewer{UID: 1000, User: tt.user}}
		var got []string
		for _, s := range routeSteps() {
			if step, ok := v.step(s); ok {
				name := step.Recipient
				if step.Hidden {
					name += "(hidden)"
				}
				got = append(got, name)
			}
		}
		if text := strings.Join(got, " "); text != tt.want {
			t.Errorf("%s sees %s, want %s", tt.user, text, tt.want)
		}
	}
	all := view{Viewer: route.Viewer{All: true}}
	for _, s := range routeSteps() {
		if step, ok := all.step(s); !ok || step.Hidden || strings.Contains(step.Recipient, "\x1b") {
			t.Errorf("root is shown %+v, %v of %+v", step, ok, s)
		}
	}
}

// TestQueueView: root, the server-user and trusted users see everything, and
// everybody does with queue-view=all.
func TestQueueView(t *testing.T) {
	who := nameOf(t, os.Getuid())
	for _, tt := range []struct {
		view string
		uid  int
		want bool
	}{
		{config.ViewOwn, 0, true}, {config.ViewOwn, os.Getuid(), true}, {config.ViewOwn, 54321, false}, {config.ViewAll, 54321, true},
	} {
		s := settings{conf: &config.Config{QueueView: tt.view}, senders: senders{trusted: []string{who}}}
		if v := s.viewer(tt.uid); v.All != tt.want || v.UID != tt.uid {
			t.Errorf("queue-view=%s, uid %d: %+v, want all: %v", tt.view, tt.uid, v, tt.want)
		}
	}
}

// TestRouteQuote: a line of a .forward that can't be understood is quoted to its
// owner and root, and to nobody else, whatever queue-view says.
func TestRouteQuote(t *testing.T) {
	step := route.DryStep{
		Recipient: "bob", How: route.HowFailure, Status: "4.3.5", Reason: "not understood", Quote: "secret\x1b is no address",
		Read: route.File{Via: envelope.Via{Source: envelope.FromForward, Name: "bob"}, Owner: "bob"},
	}
	for _, tt := range []struct {
		v    route.Viewer
		want string
	}{
		{route.Viewer{UID: 1000, User: "amy"}, "not understood"},
		{route.Viewer{UID: 1000, User: "amy", All: true}, "not understood"},
		{route.Viewer{UID: 1000}, "not understood"},
		{route.Viewer{UID: 1002, User: "bob"}, `secret\x1b is no address`},
		{route.Viewer{UID: 0, User: "root", All: true}, `secret\x1b is no address`},
	} {
		v := view{Viewer: tt.v}
		if s, ok := v.step(step); !ok || s.Hidden || s.Reason != tt.want {
			t.Errorf("%+v is told %+v, %v; want %q", tt.v, s, ok, tt.want)
		}
	}
}

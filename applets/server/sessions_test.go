package server

import (
	"context"
	"errors"
	"io"
	"net"
	"net/netip"
	"os"
	"slices"
	"strings"
	"testing"
	"time"

	"postoffice/applets/config"
	"postoffice/applets/control"
	"postoffice/applets/smtpd"
	"postoffice/applets/sysexits"
	"postoffice/internal/peer"
)

// fromOutside is a connection of a stranger's.
type fromOutside struct{ net.Conn }

func (fromOutside) RemoteAddr() net.Addr {
	return net.TCPAddrFromAddrPort(netip.MustParseAddrPort("192.0.2.7:40000"))
}

// talk sends one command on a new session, once it is greeted, and reads the answers.
func talk(t *testing.T, serve func(net.Conn) error, line string) {
	t.Helper()
	ours, theirs := net.Pipe()
	ended := make(chan error)
	go func() { ended <- serve(theirs) }()
	t.Cleanup(func() {
		ours.Close()
		<-ended
	})
	buf := make([]byte, 1000)
	_, greeted := ours.Read(buf)
	_, sent := io.WriteString(ours, line)
	if _, err := ours.Read(buf); err != nil || greeted != nil || sent != nil {
		t.Fatal(greeted, sent, err)
	}
}

// TestSessionsViewers: root, the server's user and trusted users see each session, and
// may end it; others those of their own programs, whatever queue-view says. What a
// client says of itself is fit for a terminal (B95).
func TestSessionsViewers(t *testing.T) {
	const joe, amy, trusted = 71000, 71001, 1
	s := &system{smtp: smtpd.New(smtpd.Options{Hostname: "us.example"})}
	s.settings.Store(&settings{conf: &config.Config{QueueView: config.ViewAll}, senders: senders{trusted: []string{nameOf(t, trusted)}}})
	talk(t, func(c net.Conn) error { return s.smtp.ServeConn(context.Background(), fromOutside{c}, smtpd.Relay) }, "HELO \x9b31m\"x\r\n")
	talk(t, func(c net.Conn) error { return s.smtp.ServeConn(context.Background(), fromOutside{c}, smtpd.Relay) }, "HELO <%s>\"x\r\n")
	talk(t, func(c net.Conn) error { return s.smtp.ServeUser(context.Background(), c, joe) }, "HELO joe\r\n")
	see := func(uid int) (all []control.Session) { return slices.Collect(s.sessions(control.Peer{UID: uid})) }
	for _, tt := range []struct {
		what string
		uid  int
		want string
	}{
		{"root", 0, "unknown[192.0.2.7]:40000= unknown[192.0.2.7]:40000=<%s>\"x uid-71000[uid 71000]=joe"},
		{"the server's user", os.Getuid(), "unknown[192.0.2.7]:40000= unknown[192.0.2.7]:40000=<%s>\"x uid-71000[uid 71000]=joe"},
		{"a trusted user", trusted, "unknown[192.0.2.7]:40000= unknown[192.0.2.7]:40000=<%s>\"x uid-71000[uid 71000]=joe"},
		{"joe", joe, "uid-71000[uid 71000]=joe"},
		{"amy", amy, ""},
		{"nobody of this machine", -1, ""},
	} {
		var got []string
		for _, one := range see(tt.uid) {
			got = append(got, one.Client+"="+one.Helo)
		}
		if got := strings.Join(got, " "); got != tt.want {
			t.Errorf("%s sees %q, want %q", tt.what, got, tt.want)
		}
	}
	all := see(0)
	for _, tt := range []struct {
		uid, session int
		code         int
	}{{amy, 0, sysexits.Unavailable}, {amy, 2, sysexits.Unavailable}, {joe, 0, sysexits.Unavailable}, {joe, 2, 0}, {trusted, 1, 0}, {0, 0, 0}} {
		err := s.endSession(control.Peer{UID: tt.uid}, all[tt.session].ID)
		e := (*control.Error)(nil)
		if errors.As(err, &e); (err == nil) != (tt.code == 0) || e != nil && e.Code != tt.code {
			t.Errorf("uid %d ends session %d: %v, want code %d", tt.uid, tt.session, err, tt.code)
		}
	}
	if err := s.endSession(control.Peer{}, "NOSUCH"); err == nil {
		t.Error("a session that there isn't was ended")
	}
}

// roomy is a queue that takes any envelope.
type roomy struct{ smtpd.Queue }

func (roomy) Room(context.Context) (peer.Amount, error) {
	return peer.Amount{Octets: 1 << 30, Files: 1 << 30}, nil
}
func (roomy) Held(context.Context) *peer.Held { return &peer.Held{} }
func (roomy) NewID() (string, error)          { return "Q1", nil }

// TestLimitsViewers: root, the server's user and trusted users see who is limited, whatever
// queue-view says.
func TestLimitsViewers(t *testing.T) {
	const joe, trusted = 71000, 1
	conf := &config.Config{QueueView: config.ViewAll, RateTime: time.Minute, RateConnections: 3, RateMessages: 1, RateRecipients: 2, RateUnknown: 4}
	s := &system{smtp: smtpd.New(smtpd.Options{Hostname: "us.example", Rates: rateLimits(conf), Queue: roomy{}})}
	s.settings.Store(&settings{conf: conf, senders: senders{trusted: []string{nameOf(t, trusted)}}})
	for range 2 {
		talk(t, func(c net.Conn) error { return s.smtp.ServeConn(context.Background(), fromOutside{c}, smtpd.Relay) }, "HELO x\r\nMAIL FROM:<>\r\nQUIT\r\n")
	}
	for uid, want := range map[int]int{0: 1, trusted: 1, joe: 0} {
		all, err := s.limits(control.Peer{UID: uid})
		refused, ok := errors.AsType[*control.Error](err)
		if len(all) != want || ok != (want == 0) || ok && refused.Code != sysexits.NoPerm {
			t.Errorf("uid %d: %+v, %v, want %d", uid, all, err, want)
		}
		if want == 1 && (all[0].Network != "192.0.2.7" || all[0].Option != "rate-messages" || all[0].Most != 1 || all[0].Refused != 1) {
			t.Errorf("%+v", all[0])
		}
	}
}

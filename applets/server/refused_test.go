package server

import (
	"bufio"
	"context"
	"io"
	"log/slog"
	"net"
	"net/netip"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"postoffice/applets/smtpd"
	"postoffice/deliver"
	"postoffice/deliver/route"
	"postoffice/internal/account"
	"postoffice/internal/alias"
	"postoffice/internal/testenv"
	"postoffice/resolver"
	"postoffice/spool"
	"postoffice/spool/shares"
)

// TestShippedPolicyRefuses has the policy that is shipped, and no other in its
// place, refuse a stranger what nobody may send to (A15, A16, A18, A19).
func TestShippedPolicyRefuses(t *testing.T) {
	q, err := spool.Open(spool.Options{Dir: filepath.Join(t.TempDir(), "q"), UID: -1, GID: -1})
	if err != nil {
		t.Fatal(err)
	}
	defer q.Close()
	alice := account.Only(account.Account{Name: "alice", UID: 1000, GID: 1000, Home: "/"})
	runner := deliver.NewRunner(deliver.Options{Queue: q, Options: route.Options{
		Hostname: "us.example", Resolver: resolver.New(resolver.Options{Servers: []string{"127.0.0.1"}}), LocalDomains: []string{"us.example"}, Aliases: alias.Open(filepath.Join(t.TempDir(), "aliases")), Accounts: alice,
	}})
	log := slog.New(slog.DiscardHandler)
	ledger := shares.New(&shares.Who{})
	if err := ledger.Count(t.Context(), q.EachHead); err != nil {
		t.Fatal(err)
	}
	s := smtpd.New(smtpd.Options{
		Hostname: "us.example", Queue: inbox{queue: q, shares: ledger}, Checker: shipped(runner, nil).Session, Log: log, Crash: true,
	})
	if r := rcpt(t, s, "<alice@us.example>"); !strings.HasPrefix(r, "250 ") {
		t.Fatalf("alice: %q", r)
	}
	for _, path := range slices.Concat(testenv.RelayPaths(), testenv.ProgramPaths(), testenv.OddPaths()) {
		if r := rcpt(t, s, path); r[0] != '5' {
			t.Errorf("RCPT TO:%q: %q, want 5xx", path, r)
		}
	}
}

// rcpt is the reply to a stranger's RCPT.
func rcpt(t *testing.T, s *smtpd.Server, path string) string {
	t.Helper()
	client, server := net.Pipe()
	defer client.Close()
	go s.ServeConn(context.Background(), strangersConn{server}, smtpd.Relay)
	r := bufio.NewReader(client)
	reply := ""
	if _, err := r.ReadString('\n'); err != nil { // the greeting
		t.Fatal(err)
	}
	for _, line := range []string{"HELO far\r\n", "MAIL FROM:<s@far>\r\n", "RCPT TO:" + path + "\r\n"} {
		io.WriteString(client, line)
		var err error
		if reply, err = r.ReadString('\n'); err != nil {
			t.Fatalf("%q: %v", line, err)
		}
	}
	return reply
}

// strangersConn comes from elsewhere.
type strangersConn struct{ net.Conn }

func (strangersConn) RemoteAddr() net.Addr {
	return net.TCPAddrFromAddrPort(netip.MustParseAddrPort("192.0.2.7:40000"))
}

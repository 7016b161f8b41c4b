package smtpd

import (
	"context"
	"net"
	"net/netip"
	"os"
	"strconv"
	"strings"

	"postoffice/internal/peer"
)

// String returns the client for the log: name[address]:port, or the program's
// user.
func (c *Client) String() string {
	if c.Kind == Submission {
		return c.User + "[uid " + strconv.Itoa(c.UID) + "]"
	}
	name := c.Name
	if name == "" {
		name = "unknown"
	}
	return name + "[" + c.Addr.Addr().String() + "]:" + strconv.Itoa(int(c.Addr.Port()))
}

// ProgramUID is the user of the program of this machine that a Client's String
// names; ok is false for a client of the network, which ends in its port.
func ProgramUID(client string) (uid int, ok bool) {
	const before, after = "[uid ", "]"
	i := strings.LastIndex(client, before)
	if i < 0 || !strings.HasSuffix(client, after) {
		return 0, false
	}
	uid, err := strconv.Atoi(client[i+len(before) : len(client)-len(after)])
	return uid, err == nil && uid >= 0
}

// identify fills in the client from what the kernel says of the connection.
func (s *session) identify(k Kind) error {
	c := &s.client
	c.Kind, c.UID = k, -1
	if k == Submission {
		return s.identifyProgram()
	}
	addr, err := netip.ParseAddrPort(s.wire.conn.RemoteAddr().String())
	if err != nil {
		return err
	}
	c.Addr = netip.AddrPortFrom(addr.Addr().Unmap(), addr.Port())
	c.Local, c.Trusted = s.o.Trusted(c.Addr.Addr())
	return nil
}

// identifyProgram asks who is at the other end of a unix socket. Anything
// else, as the two pipes of sendmail -bs, is used by whoever runs us.
func (s *session) identifyProgram() error {
	c := &s.client
	c.Local, c.Trusted = true, true
	c.UID = os.Getuid()
	if s.wire.user != nil {
		c.UID, c.Absent = *s.wire.user, true
	} else if u, ok := s.wire.conn.(*net.UnixConn); ok {
		p, err := peer.Of(u)
		if err != nil {
			return err
		}
		c.UID = p.UID
	}
	if s.o.Account != nil {
		c.User, c.Full = s.o.Account(c.UID)
	}
	if c.User == "" {
		c.User = "uid-" + strconv.Itoa(c.UID)
	}
	return nil
}

// findName looks up the client's name. For this machine none is asked for:
// its mail needs no DNS.
func (s *session) findName(ctx context.Context) {
	c := &s.client
	switch {
	case c.Kind == Submission:
	case c.Addr.Addr().IsLoopback():
		c.Name = "localhost"
	case c.Local:
		c.Name = s.o.Hostname
	case s.o.ClientName != nil:
		ctx, cancel := context.WithTimeout(ctx, nameWait)
		defer cancel()
		c.Name = printable(strings.TrimSuffix(s.o.ClientName(ctx, c.Addr.Addr()), "."))
	}
}

// printable returns a name that a stranger chose with every octet outside the
// letters, digits and signs of names and address literals as "?" (A23), and
// cut where no name is as long.
func printable(name string) string {
	name = name[:min(len(name), maxHello)]
	bad := func(r rune) bool { return !isNameOctet(byte(r)) || r >= 0x80 }
	if strings.IndexFunc(name, bad) < 0 {
		return name
	}
	b := []byte(name)
	for i, c := range b {
		if !isNameOctet(c) {
			b[i] = '?'
		}
	}
	return string(b)
}

func isNameOctet(c byte) bool {
	return '0' <= c && c <= '9' || 'a' <= c|0x20 && c|0x20 <= 'z' || strings.IndexByte(".:_[]-", c) >= 0
}

package smtpd

import (
	"bufio"
	"bytes"
	"context"
	"fmt"
	"log/slog"
	"net"
	"os"
	"strconv"
	"strings"
	"time"

	"postoffice/internal/maillog"
	"postoffice/internal/peer"
	"postoffice/internal/smtp"
)

// String returns the client for the log: name[address]:port, or the program's
// user.
func (c *Client) String() string {
	if c.Kind == Local {
		return c.User + "[uid " + strconv.Itoa(c.UID) + "]"
	}
	name := c.Name
	if name == "" {
		name = "unknown"
	}
	b := make([]byte, 0, 128) // for each line of the log, and each message: one piece
	b = c.Addr.Addr().AppendTo(append(append(b, name...), '['))
	return string(strconv.AppendUint(append(b, "]:"...), uint64(c.Addr.Port()), 10))
}

// identify fills in the client from what the kernel says of the connection.
func (s *session) identify(k Kind) error {
	c := &s.client
	c.Kind, c.UID = k, -1
	if k == Local {
		return s.identifyProgram()
	}
	conn := s.wire.Raw()
	if c.Addr = asAddr(conn.RemoteAddr()); !c.Addr.IsValid() {
		return fmt.Errorf("no address of IP: %v", conn.RemoteAddr())
	}
	c.Server, c.Owner = asAddr(conn.LocalAddr()), s.wire.owner
	if p, ok := conn.(*passedOn); ok {
		c.Via, s.unknown = asAddr(p.Conn.RemoteAddr()), p.unknown()
	}
	if s.o.XClient(c.Addr.Addr()) && !s.unknown {
		s.front = c.Addr
	}
	s.stand()
	return nil
}

// stand says what the client may, by its address: until it has logged in.
func (s *session) stand() {
	c := &s.client
	c.Account = ""
	c.Local, c.Trusted = s.o.standing(c.Addr.Addr(), c.Via.IsValid())
	c.Trusted = c.Trusted && !s.unknown // the address is that of who passes it on
}

// identifyProgram asks who is at the other end of a unix socket. Anything
// else, as the two pipes of sendmail -bs, is used by whoever runs us.
func (s *session) identifyProgram() error {
	c := &s.client
	c.Local, c.Trusted = true, true
	var err error
	if s.wire.user != nil {
		c.UID, c.Absent = *s.wire.user, true
	} else if c.UID, err = s.server.userOf(s.wire.Raw()); err != nil {
		return err
	}
	if s.o.Account != nil {
		if c.User, c.Full, err = s.o.Account(c.UID); err != nil { // nobody is to be called uid-N for that
			return err
		}
	}
	if c.User == "" {
		c.User = "uid-" + strconv.Itoa(c.UID)
	}
	return nil
}

// programUser is the uid at the other end of a unix socket, and our own at that of
// anything else.
func programUser(conn net.Conn) (int, error) {
	u, ok := conn.(*net.UnixConn)
	if !ok {
		return os.Getuid(), nil
	}
	p, err := peer.Of(u)
	if err != nil {
		return -1, err
	}
	return p.UID, nil
}

// findName looks up the client's name. For this machine none is asked for:
// its mail needs no DNS.
func (s *session) findName(ctx context.Context) {
	c := &s.client
	switch {
	case c.Kind == Local:
	case s.unknown:
		c.Name, c.Naming = "", Uncertain
	case c.Via.IsValid() && c.Addr.Addr().IsLoopback(): // it is none of ours, as somebody says
		c.Name, c.Naming = "", Unnamed
	case c.Addr.Addr().IsLoopback():
		c.Name, c.Naming = "localhost", Named
	case c.Local:
		c.Name, c.Naming = s.o.Hostname, Named
	case s.o.ClientName == nil:
		c.Naming = Uncertain
	default:
		c.AskBy = time.Now().Add(nameWait)
		ctx, cancel := context.WithDeadline(ctx, c.AskBy)
		defer cancel()
		name, naming := s.o.ClientName(ctx, c.Addr.Addr())
		c.Name, c.Naming = asName(strings.TrimSuffix(name, ".")), naming
	}
}

// welcome makes the Checker of a client that is known by now, asks it, and returns the
// greeting; with ErrRefused what the client is sent away with, with another error what
// ended the session meanwhile. first says that nothing was said to the client yet.
func (s *session) welcome(ctx context.Context, first bool) (greeting smtp.Reply, err error) {
	if s.checker != nil { // of whom XCLIENT has replaced
		s.checker.Close()
	}
	s.checker = s.o.Checker(&s.client)
	v := s.ask(ctx, s.checker.Connect)
	if first && v.Accepted() && v.Trust == "" {
		switch err := s.listen(); err {
		case nil:
		case errEarly:
			v = s.early(v)
		default:
			return greeting, err
		}
	}
	greeting = smtp.Reply{Code: 220, Text: s.o.Hostname + " ESMTP postoffice" + s.banner() + v.Greeting} // the greeting, with option banner and the words for a client that is only just accepted
	if !v.Accepted() {
		greeting = v.Reply
		if !s.bar(v) {
			s.replied(VerbConnect, "", greeting)
			return greeting, ErrRefused
		}
	}
	s.mark = v.Mark
	if v.Accepted() {
		s.client.Trusted = s.client.Trusted || v.Trust != ""
		s.connected(v.Trust)
	}
	s.replied(VerbConnect, "", greeting)
	return greeting, nil
}

// connected writes down that a session has begun, and what gives its client the right to
// relay where that is none of its address.
func (s *session) connected(trust string) {
	var attrs []slog.Attr
	if s.client.Login != "" {
		attrs = append(attrs, maillog.User(s.client.Login))
	}
	if s.client.Via.IsValid() {
		trust = strings.TrimSuffix("through "+s.client.Via.String()+", "+trust, ", ")
	}
	if trust != "" {
		attrs = append(attrs, maillog.Reason(trust))
	}
	level := slog.LevelInfo
	if unremarkable(s.wire.Raw()) {
		level = slog.LevelDebug
	}
	s.log(s.server.ctx, level, "client connected", attrs...)
}

// banner are the administrator's lines for the greeting.
func (s *session) banner() string {
	if s.client.Kind == Local || s.o.Banner == nil {
		return ""
	}
	text := ""
	for _, line := range s.o.Banner() {
		text += "\n" + line
	}
	return text
}

// asName returns a name that a stranger chose with every octet outside the
// letters, digits and signs of names and address literals as "?" (A23), and
// cut where no name is as long.
func asName(name string) string {
	return smtp.Masked(name[:min(len(name), maxHello)], '?', isNameOctet)
}

func isNameOctet(c byte) bool {
	return '0' <= c && c <= '9' || 'a' <= c|0x20 && c|0x20 <= 'z' || strings.IndexByte(".:_[]-", c) >= 0
}

// completeAddresses writes an address field (RFC 5322 section 3.4), complete
// with name, folds and final line end, to w, with "@host" behind each address
// that is a bare local part. What it does not understand it leaves alone.
func completeAddresses(w *bufio.Writer, field []byte, host string) error {
	body := field[bytes.IndexByte(field, ':')+1:]
	w.Write(field[:len(field)-len(body)])
	done := 0
	for m := range smtp.EachMailbox(string(body)) {
		if m.Path.Domain != "" {
			continue
		}
		w.Write(body[done:m.End])
		w.WriteString("@")
		w.WriteString(host)
		done = m.End
	}
	_, err := w.Write(body[done:])
	return err
}

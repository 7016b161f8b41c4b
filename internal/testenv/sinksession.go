package testenv

import (
	"bufio"
	"crypto/tls"
	"encoding/base64"
	"io"
	"net"
	"strings"
	"time"
)

// A sinkSession is one connection of a Sink. Answers are held back while
// further commands are there already, as a server with PIPELINING does.
type sinkSession struct {
	sink *Sink
	n    int
	conn net.Conn
	r    *bufio.Reader
	w    *bufio.Writer
	tls  bool
	in   bool // somebody has logged in
	helo string
	esmt bool
	msg  *SinkMessage // nil outside a transaction
}

func newSinkSession(s *Sink, conn net.Conn, n int) *sinkSession {
	return &sinkSession{sink: s, n: n, conn: conn, r: bufio.NewReader(conn), w: bufio.NewWriter(conn)}
}

func (s *sinkSession) run() {
	host := s.sink.Hostname
	if host == "" {
		host = "sink.example"
	}
	if s.sink.TLSFirst && !s.startTLS() {
		return
	}
	ok := s.answer("", "", "220 "+host+" ESMTP sink")
	for ok {
		if s.r.Buffered() == 0 && s.w.Flush() != nil {
			return
		}
		line, err := s.r.ReadString('\n')
		if err != nil {
			return
		}
		line = strings.TrimSuffix(strings.TrimSuffix(line, "\n"), "\r")
		s.sink.record(line)
		ok = s.command(line, host)
	}
}

// command answers one command and reports whether the session goes on.
func (s *sinkSession) command(line, host string) bool {
	verb, arg, _ := strings.Cut(line, " ")
	verb = strings.ToUpper(verb)
	switch verb {
	case "EHLO", "HELO", "LHLO": // LMTP, to one recipient in a message
		s.helo, s.esmt, s.msg = arg, verb == "EHLO", nil
		return s.answer(verb, line, s.hello(host))
	case "AUTH":
		return s.login(line, arg)
	case "MAIL":
		if s.sink.Users != nil && !s.in {
			return s.answer(verb, line, "530 5.7.0 authentication required")
		}
		s.msg = &SinkMessage{Session: s.n, Hello: s.helo, ESMTP: s.esmt, TLS: s.tls, Mail: line}
		return s.answer(verb, line, "250 2.1.0 sender taken")
	case "RCPT":
		return s.answer(verb, line, "250 2.1.5 recipient taken")
	case "DATA":
		if s.msg == nil || len(s.msg.Rcpt) == 0 {
			return s.answer(verb, line, "503 5.5.1 no recipient")
		}
		return s.answer(verb, line, "354 go on")
	case "RSET":
		s.msg = nil
		return s.answer(verb, line, "250 2.0.0 forgotten")
	case "STARTTLS":
		return s.answer(verb, line, "220 2.0.0 shake hands")
	case "QUIT":
		s.answer(verb, line, "221 2.0.0 bye")
		s.w.Flush()
		return false
	case "NOOP":
		return s.answer(verb, line, "250 2.0.0 nothing")
	}
	return s.answer(verb, line, "502 5.5.1 unknown")
}

func (s *sinkSession) hello(host string) string {
	if !s.esmt {
		return "250 " + host
	}
	ext := s.sink.Extensions
	if ext == nil {
		ext = []string{"PIPELINING", "SIZE 0", "8BITMIME", "ENHANCEDSTATUSCODES"}
	}
	lines := append([]string{host}, ext...)
	if s.sink.TLS != nil && !s.tls {
		lines = append(lines, "STARTTLS")
	}
	if s.sink.Users != nil && (s.sink.TLS == nil || s.tls) {
		mechanisms := s.sink.Mechanisms
		if mechanisms == nil {
			mechanisms = []string{"PLAIN", "LOGIN"}
		}
		lines = append(lines, "AUTH "+strings.Join(mechanisms, " "))
	}
	for i := range lines {
		sep := "250-"
		if i == len(lines)-1 {
			sep = "250 "
		}
		lines[i] = sep + lines[i]
	}
	return strings.Join(lines, "\n")
}

// login takes a login by PLAIN, LOGIN or XOAUTH2.
func (s *sinkSession) login(line, arg string) bool {
	mechanism, initial, _ := strings.Cut(arg, " ")
	var said []string
	prompts := map[string][]string{"PLAIN": {""}, "LOGIN": {"Username:", "Password:"}, "XOAUTH2": {""}}[mechanism]
	if prompts == nil {
		return s.answer("AUTH", line, "504 5.5.4 unknown mechanism")
	}
	if initial != "" {
		said, prompts = append(said, initial), prompts[1:]
	}
	for _, p := range prompts {
		if !s.send("334 "+base64.StdEncoding.EncodeToString([]byte(p))+"\r\n", 0) || s.w.Flush() != nil {
			return false
		}
		one, err := s.r.ReadString('\n')
		if err != nil {
			return false
		}
		said = append(said, strings.TrimSuffix(one, "\r\n"))
	}
	var text []string
	for _, one := range said {
		b, _ := base64.StdEncoding.DecodeString(one)
		text = append(text, strings.FieldsFunc(string(b), func(r rune) bool { return r == 0 || r == 1 })...)
	}
	usual := "501 5.5.2 no login"
	if len(text) == 2 {
		user, password := strings.TrimPrefix(text[0], "user="), strings.TrimPrefix(text[1], "auth=Bearer ")
		s.sink.mu.Lock()
		s.sink.logins = append(s.sink.logins, mechanism+" "+user+" "+password)
		good, ok := s.sink.Users[user]
		s.sink.mu.Unlock()
		if s.in = ok && good == password; s.in {
			usual = "235 2.7.0 welcome"
		} else {
			usual = "535 5.7.8 bad credentials"
		}
	}
	return s.answer("AUTH", line, usual)
}

// SetPassword changes the password of a user.
func (s *Sink) SetPassword(user, password string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.Users[user] = password
}

// answer gives the usual answer or what Answer says, and does what follows
// from it. It reports whether the session goes on.
func (s *sinkSession) answer(verb, line, usual string) bool {
	var act Action
	if s.sink.Answer != nil {
		act = s.sink.Answer(Event{Session: s.n, Verb: verb, Line: line, Hello: s.helo, TLS: s.tls, Message: s.msg})
	}
	if act.Hang || act.Stuck {
		return s.act(act)
	}
	reply := act.Reply
	if reply == "" {
		reply = usual
	}
	octets := strings.ReplaceAll(reply, "\n", "\r\n") + "\r\n"
	switch {
	case act.Raw != "":
		reply, octets = act.Raw, act.Raw
	case act.Mute, act.Drop && act.Reply == "":
		reply, octets = "", ""
	}
	if verb == "." {
		s.end(reply) // before the client can know of it
	}
	if !s.send(octets, act.Each) || act.Drop {
		s.w.Flush()
		return false
	}
	return s.follow(verb, line, reply)
}

// act does what Answer wants where there is no usual answer.
func (s *sinkSession) act(act Action) bool {
	octets := act.Raw
	if act.Reply != "" {
		octets = strings.ReplaceAll(act.Reply, "\n", "\r\n") + "\r\n"
	}
	ok := s.send(octets, act.Each) && s.w.Flush() == nil
	if act.Hang || act.Stuck {
		s.idle(act.Stuck)
	}
	return ok && !act.Hang && !act.Stuck && !act.Drop
}

// idle answers nothing until the other side goes or, if it does not even read,
// until the sink is closed.
func (s *sinkSession) idle(stuck bool) {
	if stuck {
		<-s.sink.stopped()
		return
	}
	io.Copy(io.Discard, s.r)
}

func (s *sinkSession) send(octets string, each time.Duration) bool {
	if each > 0 {
		return s.w.Flush() == nil && Drip(s.conn, octets, each) == nil
	}
	_, err := s.w.WriteString(octets)
	return err == nil
}

// follow does what a positive answer brings with it.
func (s *sinkSession) follow(verb, line, reply string) bool {
	switch {
	case verb == "MAIL" && reply != "" && reply[0] != '2':
		s.msg = nil
	case verb == "RCPT" && s.msg != nil && strings.HasPrefix(reply, "2"):
		s.msg.Rcpt = append(s.msg.Rcpt, line)
	case verb == "DATA" && strings.HasPrefix(reply, "354"):
		return s.data()
	case verb == "STARTTLS" && strings.HasPrefix(reply, "220"):
		return s.startTLS()
	}
	return true
}

// data reads a message up to the line "." that follows a true CR LF.
func (s *sinkSession) data() bool {
	if s.w.Flush() != nil {
		return false
	}
	if s.sink.Answer != nil {
		act := s.sink.Answer(Event{Session: s.n, Verb: "BODY", Hello: s.helo, TLS: s.tls, Message: s.msg})
		if act != (Action{}) && !s.act(act) {
			return false
		}
	}
	if s.msg == nil {
		s.msg = &SinkMessage{Session: s.n, Hello: s.helo, ESMTP: s.esmt, TLS: s.tls}
	}
	tail := []byte("\r\n") // the last octets, as if the 354 were a line of the message
	for {
		part, err := s.r.ReadSlice('\n')
		if err != nil && err != bufio.ErrBufferFull {
			return false
		}
		s.msg.Octets += int64(len(part))
		if !s.sink.Discard {
			s.msg.Wire = append(s.msg.Wire, part...)
		}
		const end = "\r\n.\r\n"
		tail = append(tail, part[max(0, len(part)-len(end)):]...)
		tail = tail[max(0, len(tail)-len(end)):]
		if string(tail) == end {
			return s.answer(".", "", "250 2.0.0 message taken")
		}
	}
}

// end closes the transaction.
func (s *sinkSession) end(reply string) {
	s.msg.Reply = reply
	if strings.HasPrefix(reply, "2") {
		s.sink.store(*s.msg)
	}
	s.msg = nil
}

func (s *sinkSession) startTLS() bool {
	if s.sink.TLS == nil || s.w.Flush() != nil {
		return false
	}
	conn := tls.Server(s.conn, s.sink.TLS)
	if conn.Handshake() != nil {
		return false
	}
	s.conn, s.tls, s.msg = conn, true, nil
	s.r.Reset(conn)
	s.w.Reset(conn)
	return true
}

//go:build e2e

package milters

import (
	"bufio"
	"fmt"
	"io"
	"net"
	"slices"
	"strings"
	"sync"

	"postoffice/internal/e2e/lan"
)

// sink is a mail server that keeps what comes, by the server it comes from.
type sink struct {
	mu   sync.Mutex
	mail map[string]map[string]*arrival // by address of the server and key of the message
}

// arrival is a message as it came.
type arrival struct {
	sender     string
	recipients []string
	text       string
}

// newSink starts one. The key of a message is what its recipients have in front of the
// second dot.
func newSink(h *lan.Host) *sink {
	s := &sink{mail: map[string]map[string]*arrival{}}
	l := h.Listen("25")
	go func() {
		for {
			conn, err := l.Accept()
			if err != nil {
				return
			}
			go s.serve(conn)
		}
	}()
	return s
}

func (s *sink) serve(conn net.Conn) {
	defer conn.Close()
	r := bufio.NewReader(conn)
	say := func(line string) { io.WriteString(conn, line+"\r\n") }
	say("220 sink.test")
	var a arrival
	for {
		line, err := r.ReadString('\n')
		if err != nil {
			return
		}
		line = strings.TrimRight(line, "\r\n")
		path := func() string { return line[strings.IndexByte(line, '<') : strings.IndexByte(line, '>')+1] }
		switch verb, _, _ := strings.Cut(strings.ToUpper(line), " "); verb {
		case "EHLO":
			say("250-sink.test\r\n250 8BITMIME")
		case "MAIL":
			a = arrival{sender: path()}
			say("250 ok")
		case "RCPT":
			a.recipients = append(a.recipients, path())
			say("250 ok")
		case "DATA":
			say("354 go on")
			text, err := dotted(r)
			if err != nil {
				return
			}
			a.text = text
			s.keep(conn.RemoteAddr().(*net.TCPAddr).IP.String(), a)
			say("250 ok")
		case "QUIT":
			say("221 bye")
			return
		default:
			say("250 ok")
		}
	}
}

// dotted reads a message as it is on the wire, with its line ends.
func dotted(r *bufio.Reader) (string, error) {
	var b strings.Builder
	for {
		line, err := r.ReadString('\n')
		if err != nil {
			return "", err
		}
		if line == ".\r\n" {
			return b.String(), nil
		}
		b.WriteString(strings.TrimPrefix(line, "."))
	}
}

func (s *sink) keep(from string, a arrival) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.mail[from] == nil {
		s.mail[from] = map[string]*arrival{}
	}
	key := strings.Join(strings.SplitN(strings.Trim(a.recipients[0], "<>"), ".", 3)[:2], ".")
	if old := s.mail[from][key]; old != nil {
		a.recipients = append(a.recipients, old.recipients...)
		if withoutReceived(old.text) != withoutReceived(a.text) {
			a.text = fmt.Sprintf("came in two forms:\n%q\n%q", old.text, a.text)
		}
	}
	slices.Sort(a.recipients)
	s.mail[from][key] = &a
}

// from returns what came from a server.
func (s *sink) from(ip string) map[string]*arrival {
	s.mu.Lock()
	defer s.mu.Unlock()
	all := map[string]*arrival{}
	for key, a := range s.mail[ip] {
		all[key] = a
	}
	return all
}

// withoutReceived is a message with nothing but its place left of the first of its fields
// that is called Received: the server's own.
func withoutReceived(text string) string {
	var b strings.Builder
	own, in, header := false, false, true
	for line := range strings.SplitAfterSeq(text, "\n") {
		if header && line == "\r\n" {
			header = false
		}
		if header && line != "" && line[0] != ' ' && line[0] != '\t' {
			in = !own && strings.HasPrefix(line, "Received: ")
			own = own || in
			if in {
				b.WriteString("Received\r\n")
			}
		}
		if header && in {
			continue
		}
		b.WriteString(line)
	}
	return b.String()
}

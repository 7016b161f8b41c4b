package client

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"syscall"
	"time"

	"postoffice/applets/cmdline"
	"postoffice/applets/sysexits"
	"postoffice/internal/smtp"
)

// SpeakSMTP is -bs: the session of the submission socket on standard input and
// output. It ends with an error where the session broke, or where the server
// ended it with 421: the client was too slow, or its input ended in the middle
// of a message.
func SpeakSMTP(ctx context.Context, env *cmdline.Env) error {
	conf, err := env.Config()
	s, err := submission(ctx, env, conf, &flaw{env: env, err: err}, false, time.Now().Add(greetWait))
	if x := (*cmdline.ExitError)(nil); errors.Is(err, errNoServer) && errors.As(err, &x) {
		x.Hint += "\nwithout -bs, sendmail leaves a message for the next server"
	}
	if err != nil {
		return err
	}
	defer s.close()
	if conf.Relay == "no" {
		replies, err := giveUpRelaying(env.Stdout, s.mail)
		if err != nil {
			return err
		}
		return speak(env, rest{s.mail, replies})
	}
	return speak(env, s.mail)
}

// giveUpRelaying shows a greeting, and has the server take nothing for other
// machines in this session (option relay). It returns what is left to read.
func giveUpRelaying(out io.Writer, conn io.ReadWriter) (*bufio.Reader, error) {
	replies := bufio.NewReader(conn)
	greeting, err := readReply(replies)
	if err != nil {
		return nil, err
	}
	if _, err := out.Write(greeting); err != nil {
		return nil, cmdline.ExitWith(sysexits.IOErr, fmt.Errorf("write the server's greeting: %w", err))
	}
	if greeting[0] != '2' {
		return replies, nil // it is over
	}
	if _, err := io.WriteString(conn, smtp.VerbNoRelay+"\r\n"); err != nil {
		return nil, cmdline.ExitWith(sysexits.TempFail, fmt.Errorf("the session broke: %w", err))
	}
	answer, err := readReply(replies)
	if err == nil && answer[0] != '2' {
		err = cmdline.ExitWith(sysexits.TempFail, fmt.Errorf("the server can't keep this session from relaying (option relay): it says %q", answer), "restart the server, which may be an older one")
	}
	return replies, err
}

// maxGreeting bounds the octets of a greeting that is read before the session is
// passed on.
const maxGreeting = 64 << 10

// readReply returns all lines of one reply.
func readReply(r *bufio.Reader) ([]byte, error) {
	var all []byte
	for len(all) < maxGreeting {
		line, err := r.ReadSlice('\n')
		all = append(all, line...)
		switch {
		case err != nil:
			return nil, cmdline.ExitWith(sysexits.TempFail, fmt.Errorf("the session broke: %w", err))
		case len(line) < 4 || line[3] != '-':
			return all, nil
		}
	}
	return nil, cmdline.ExitWith(sysexits.TempFail, errors.New("the server's greeting has no end"))
}

// rest is a connection of which something was read.
type rest struct {
	net.Conn
	replies *bufio.Reader
}

func (r rest) Read(p []byte) (int, error) { return r.replies.Read(p) }

// CloseWrite ends the input.
func (r rest) CloseWrite() error {
	if half, ok := r.Conn.(interface{ CloseWrite() error }); ok {
		return half.CloseWrite()
	}
	return nil
}

// speak carries the session over conn, to its end.
func speak(env *cmdline.Env, conn io.ReadWriter) error {
	go func() {
		io.Copy(conn, env.Stdin)
		if half, ok := conn.(interface{ CloseWrite() error }); ok {
			half.CloseWrite()
		}
	}()
	var last lastReply
	replies := shown{w: env.Stdout}
	_, err := io.Copy(&last, io.TeeReader(conn, &replies))
	switch {
	case err == nil && replies.err != nil:
		return cmdline.ExitWith(sysexits.IOErr, fmt.Errorf("write the server's replies: %w", replies.err))
	case err != nil:
		return cmdline.ExitWith(sysexits.TempFail, fmt.Errorf("the session broke: %w", err))
	case last.code() == "421":
		return cmdline.ExitWith(exitEnded, fmt.Errorf("the server ended the session: %s", last.line))
	}
	return nil
}

// exitEnded is what sendmail -bs ends with where its server ended the session.
const exitEnded = 1

// shown is where replies go. What they answer goes on without a reader: who has
// seen the 250 of the message may leave, which is no error.
type shown struct {
	w   io.Writer
	err error // the first of those that keep a reply from somebody who is there
}

func (s *shown) Write(p []byte) (int, error) {
	_, err := s.w.Write(p)
	if s.err == nil && !errors.Is(err, syscall.EPIPE) && !errors.Is(err, syscall.ECONNRESET) {
		s.err = err
	}
	return len(p), nil
}

// lastReply keeps the begin of the last line of replies.
type lastReply struct {
	line []byte
	over bool // the line has ended
}

func (l *lastReply) Write(p []byte) (int, error) {
	for _, c := range p {
		switch {
		case c == '\n':
			l.over = true
		case l.over:
			l.line, l.over = append(l.line[:0], c), false
		case len(l.line) < 500 && c >= ' ':
			l.line = append(l.line, c)
		}
	}
	return len(p), nil
}

func (l *lastReply) code() string { return string(l.line[:min(3, len(l.line))]) }

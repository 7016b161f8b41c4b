//go:build e2e

package lan

import (
	"bufio"
	"fmt"
	"io"
	"net"
	"strings"
	"time"
)

// Dialogue is a plain SMTP client, one command at a time.
type Dialogue struct {
	Conn net.Conn
	R    *bufio.Reader
}

// NewDialogue takes the greeting over; step is how long each reply may take.
func NewDialogue(conn net.Conn, hello string) (*Dialogue, error) {
	d := &Dialogue{conn, bufio.NewReader(conn)}
	if err := d.Expect("", "220"); err != nil {
		conn.Close()
		return nil, err
	}
	if err := d.Expect("EHLO "+hello, "250"); err != nil {
		conn.Close()
		return nil, err
	}
	return d, nil
}

// Say sends a line, "" sends nothing, and returns the last line of the reply.
func (d *Dialogue) Say(line string) (string, error) {
	d.Conn.SetDeadline(time.Now().Add(patience))
	if line != "" {
		if _, err := io.WriteString(d.Conn, line+"\r\n"); err != nil {
			return "", err
		}
	}
	for {
		reply, err := d.R.ReadString('\n')
		if err != nil {
			return "", err
		}
		if len(reply) < 4 {
			return "", fmt.Errorf("reply %q", reply)
		}
		if reply[3] != '-' {
			return strings.TrimRight(reply, "\r\n"), nil
		}
	}
}

// Expect is say with the code that must come.
func (d *Dialogue) Expect(line, code string) error {
	reply, err := d.Say(line)
	if err == nil && !strings.HasPrefix(reply, code) {
		err = refusal(reply)
	}
	return err
}

// refusal is a reply that was not the expected one.
type refusal string

func (r refusal) Error() string { return "refused: " + string(r) }

// Send does one transaction; nil means that the server took the message.
func (d *Dialogue) Send(from, to, text string) error {
	if err := d.Expect("MAIL FROM:<"+from+">", "250"); err != nil {
		return err
	}
	if err := d.Expect("RCPT TO:<"+to+">", "250"); err != nil {
		return err
	}
	if err := d.Expect("DATA", "354"); err != nil {
		return err
	}
	var b strings.Builder
	for line := range strings.Lines(text) {
		if line[0] == '.' {
			b.WriteByte('.')
		}
		b.WriteString(strings.TrimSuffix(line, "\n") + "\r\n")
	}
	return d.Expect(b.String()+".", "250")
}

// Quit says QUIT and closes the connection.
func (d *Dialogue) Quit() {
	d.Say("QUIT")
	d.Conn.Close()
}

// Idle leaves a session in the state between two transactions.
func Idle(conn net.Conn, to string) error {
	d, err := NewDialogue(conn, "two.test")
	if err != nil {
		return err
	}
	for _, line := range []string{"MAIL FROM:<x@two.test>", "RCPT TO:<" + to + ">", "RSET"} {
		if err := d.Expect(line, "250"); err != nil {
			return err
		}
	}
	return nil
}

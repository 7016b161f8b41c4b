package smtp

import (
	"bufio"
	"crypto/tls"
	"errors"
	"fmt"
	"net"
	"strings"
	"time"
)

// Errors that end a connection. Others are the connection's own: timeouts,
// io.ErrUnexpectedEOF, resets, and ErrReply.
var (
	// ErrClosing: the server said 421 and ends the session.
	ErrClosing = errors.New("server ends the session")
	// ErrOutOfStep: a reply of a class that cannot answer the command, or one
	// that came before its time.
	ErrOutOfStep = errors.New("reply out of step")
	// ErrPlaintext: the server, or somebody on the way, sent more than the
	// reply to STARTTLS in the clear.
	ErrPlaintext = errors.New("text in the clear behind the reply to STARTTLS")
)

// A RefusedError is a 4xx or 5xx to a command that has no result of its own.
// The connection is still in step.
type RefusedError struct {
	Command string
	Reply   Reply
}

func (e *RefusedError) Error() string { return e.Command + " refused: " + e.Reply.String() }

// ClientOptions are the settings of a Client.
type ClientOptions struct {
	Hello      string                      // our name in EHLO
	LMTP       bool                        // speak LMTP (RFC 2033): LHLO, and a reply to the message for each recipient
	Step       time.Duration               // total time for one command and its reply, or one block of a message; 0: 5 minutes
	Final      time.Duration               // the same for the reply to the end of a message; 0: twice Step
	Deadline   time.Time                   // end of the whole session, if not zero
	Transcript func(dir byte, line string) // sees each line, '>' sent and '<' received, messages as "."
}

// A Client is the sending side of an SMTP connection. Its methods are called
// one after another from one goroutine; Close alone may be called from any,
// and ends what is waiting. After an error that is no *RefusedError the
// connection is of no further use but to be closed.
type Client struct {
	raw  net.Conn // never replaced, so that Close may be called at any time
	conn net.Conn // raw, or TLS over it
	r    *bufio.Reader
	o    ClientOptions
	out  []byte            // commands being put together
	ext  map[string]string // what EHLO offered: upper-case keyword to its arguments
	open bool              // a transaction may be open at the server
}

// The reader holds a usual burst of replies.
const clientBuffer = 4 << 10

// byeTime is how long Quit waits for the reply that nobody needs.
const byeTime = 2 * time.Second

// NewClient makes a Client of an open connection, whose deadlines are the
// Client's from then on. Nothing is read or written yet.
func NewClient(conn net.Conn, o ClientOptions) *Client {
	if o.Step <= 0 {
		o.Step = 5 * time.Minute
	}
	if o.Final <= 0 {
		o.Final = 2 * o.Step
	}
	return &Client{raw: conn, conn: conn, r: bufio.NewReaderSize(conn, clientBuffer), o: o}
}

// SetTranscript makes f, or nobody, see the lines from here on, in the place of
// ClientOptions.Transcript.
func (c *Client) SetTranscript(f func(dir byte, line string)) { c.o.Transcript = f }

// Greeting reads the reply that opens the session, 220 if we are welcome. Any
// other is returned as it is.
func (c *Client) Greeting() (Reply, error) {
	if err := c.conn.SetDeadline(c.until(c.o.Step)); err != nil {
		return Reply{}, err
	}
	return c.reply()
}

// Hello says EHLO and, if that gets a 5xx, HELO, and notes what the server
// offers. The reply is the last one, whatever its class. In LMTP there is only
// LHLO.
func (c *Client) Hello() (Reply, error) {
	c.ext = nil
	verb := "EHLO "
	if c.o.LMTP {
		verb = "LHLO "
	}
	reply, err := c.command(verb + c.o.Hello)
	if err == nil && reply.Permanent() && !c.o.LMTP {
		return c.command("HELO " + c.o.Hello)
	}
	if err == nil && reply.Class() == 2 {
		c.ext = parseExtensions(reply.Text)
	}
	return reply, err
}

// parseExtensions reads the text of a reply to EHLO, whose first line is the
// server's name.
func parseExtensions(text string) map[string]string {
	ext := make(map[string]string)
	_, text, more := strings.Cut(text, "\n")
	for more {
		var line string
		line, text, more = strings.Cut(text, "\n")
		word, args, _ := strings.Cut(line, " ")
		ext[strings.ToUpper(word)] = strings.TrimSpace(args)
	}
	return ext
}

// Has reports whether the server offered the extension with this upper-case
// keyword, and with what arguments.
func (c *Client) Has(ext string) (arg string, ok bool) {
	arg, ok = c.ext[ext]
	return arg, ok
}

// Reset ends a transaction that may be open.
func (c *Client) Reset() error {
	if err := c.expect2xx("RSET"); err != nil {
		return err
	}
	c.open = false
	return nil
}

// StartTLS asks for TLS and shakes hands. After a *RefusedError the connection
// goes on in the clear; after any other it is closed. What the server offered
// before is forgotten: Hello comes next (RFC 3207 section 4.2).
func (c *Client) StartTLS(config *tls.Config) error {
	const command = "STARTTLS"
	reply, err := c.command(command)
	if err != nil {
		c.Close()
		return err
	}
	if reply.Temporary() || reply.Permanent() {
		return &RefusedError{command, reply}
	}
	if c.r.Buffered() > 0 {
		c.Close()
		return ErrPlaintext
	}
	if reply.Code != 220 {
		c.Close()
		return fmt.Errorf("%w: %s to %s", ErrOutOfStep, reply, command)
	}
	return c.Encrypt(config)
}

// Encrypt shakes hands at once, as before the greeting at ports where TLS comes first
// (RFC 8314). After an error the connection is closed.
func (c *Client) Encrypt(config *tls.Config) error {
	conn := tls.Client(c.conn, config)
	if err := conn.SetDeadline(c.until(c.o.Step)); err != nil {
		c.Close()
		return err
	}
	if err := conn.Handshake(); err != nil {
		c.Close()
		return err
	}
	c.conn = conn
	c.r.Reset(conn)
	c.ext = nil
	c.open = false
	return nil
}

// TLS returns the state of the connection's TLS, if it has any.
func (c *Client) TLS() (state tls.ConnectionState, ok bool) {
	conn, ok := c.conn.(*tls.Conn)
	if ok {
		state = conn.ConnectionState()
	}
	return state, ok
}

// Quit says QUIT, waits for the reply for two seconds at most, and closes. No
// message depends on what comes of it.
func (c *Client) Quit() error {
	if err := c.conn.SetDeadline(c.until(byeTime)); err == nil && c.send("QUIT") == nil {
		c.reply()
	}
	return c.conn.Close() // over TLS with a close_notify
}

// Close ends the connection at once.
func (c *Client) Close() error { return c.raw.Close() }

// until returns the end of a step that begins now.
func (c *Client) until(step time.Duration) time.Time {
	end := time.Now().Add(step)
	if !c.o.Deadline.IsZero() && c.o.Deadline.Before(end) {
		return c.o.Deadline
	}
	return end
}

// expect2xx does a command that can only succeed or be refused.
func (c *Client) expect2xx(line string) error {
	reply, err := c.command(line)
	switch {
	case err != nil:
		return err
	case reply.Class() == 2:
		return nil
	case reply.Class() == 3:
		return fmt.Errorf("%w: %s to %s", ErrOutOfStep, reply, line)
	}
	return &RefusedError{line, reply}
}

// command sends one command and reads its reply.
func (c *Client) command(line string) (Reply, error) {
	if err := c.quiet(); err != nil {
		return Reply{}, err
	}
	if err := c.conn.SetDeadline(c.until(c.o.Step)); err != nil {
		return Reply{}, err
	}
	if err := c.send(line); err != nil {
		return c.lastWords(err)
	}
	reply, err := c.reply()
	if err == nil && reply.Code == 421 {
		err = closing(reply)
	}
	return reply, err
}

// quiet checks that the server has not spoken without being asked, which would
// be taken for the answer to the next command.
func (c *Client) quiet() error {
	if c.r.Buffered() == 0 {
		return nil
	}
	reply, err := c.reply()
	switch {
	case err != nil:
		return err
	case reply.Code == 421:
		return closing(reply)
	}
	return fmt.Errorf("%w: %s", ErrOutOfStep, reply)
}

func closing(r Reply) error { return fmt.Errorf("%w: %s", ErrClosing, r) }

// send writes one command under the deadline that stands.
func (c *Client) send(line string) error {
	b, err := c.appendCommand(c.out[:0], line)
	c.out = b[:0]
	if err != nil {
		return err
	}
	_, err = c.conn.Write(b)
	return err
}

// appendCommand adds a line to b. No octet that could end it early, or that
// the peer never said it takes, gets onto the wire.
func (c *Client) appendCommand(b []byte, line string) ([]byte, error) {
	if !isPrintable(line) && !c.takesUTF8(line) {
		return b, fmt.Errorf(`command with octets outside printable ASCII: "%.80s"`, Masked(line, '?', IsPrintable))
	}
	c.transcribe('>', line)
	return append(append(b, line...), crlf...), nil
}

// takesUTF8 reports whether the peer takes a line outside ASCII, and this may be one.
func (c *Client) takesUTF8(line string) bool {
	_, offered := c.Has(ParamUTF8)
	return offered && checkOctets(line) == nil
}

// reply reads one reply under the deadline that stands.
func (c *Client) reply() (Reply, error) {
	reply, err := ReadReply(c.r)
	if err == nil && c.o.Transcript != nil {
		for line := range strings.SplitSeq(strings.TrimSuffix(string(reply.Append(nil)), crlf), crlf) {
			c.transcribe('<', line)
		}
	}
	return reply, err
}

// lastWords looks for what the server may have said before it broke off,
// usually a 421, when writing has failed.
func (c *Client) lastWords(err error) (Reply, error) {
	if reply, rerr := c.reply(); rerr == nil {
		return reply, fmt.Errorf("%w: %s", err, reply)
	}
	return Reply{}, err
}

func (c *Client) transcribe(dir byte, line string) {
	if c.o.Transcript != nil {
		c.o.Transcript(dir, line)
	}
}

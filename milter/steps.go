package milter

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"strings"
)

// table has the steps: the octet that stands for each on the wire, the bits with which
// a filter wants none of it or gives no answer, the list of its macros, and what it
// may be answered.
var table = [...]struct {
	name    string
	command byte
	not     uint32
	mum     uint32
	list    int
	answers string
}{
	AtConnect:     {"connect", 'C', noConnect, mumConnect, listConnect, "carty4f"},
	AtHelo:        {"helo", 'H', noHelo, mumHelo, listHelo, "carty4f"},
	AtMail:        {"mail", 'M', noMail, mumMail, listMail, "cadrty4f"},
	AtRcpt:        {"rcpt", 'R', noRcpt, mumRcpt, listRcpt, "cadrty4fs"},
	AtData:        {"data", 'T', noData, mumData, listData, "cadrty4f"},
	AtHeader:      {"header", 'L', noHeader, mumHeader, -1, "cadrty4fs"},
	AtEndOfHeader: {"end of header", 'N', noEndOfHeader, mumEOH, listEndOfHeader, "cadrty4f"},
	AtBody:        {"body", 'B', noBody, mumBody, -1, "cadrty4fs"},
	AtEnd:         {"end of message", 'E', 0, 0, listEnd, "cadrty4f"},
	AtUnknown:     {"unknown command", 'U', noUnknown, mumUnknown, -1, "carty4f"},
}

// ofMessage says whether a step belongs to a message.
func (s Step) ofMessage() bool { return s >= AtMail && s <= AtEnd }

// ofContent says whether a step belongs to a message's octets.
func (s Step) ofContent() bool { return s >= AtHeader && s <= AtEnd }

// Connect tells of a client, the first step of its session.
func (c *Conn) Connect(client Client, m []Macro) (Verdict, error) {
	raw := append([]byte(strings.ReplaceAll(client.Name, "\x00", "?")), 0)
	switch addr := client.Addr.Addr().Unmap().WithZone(""); {
	case client.Path != "":
		return c.ask(AtConnect, m, append(raw, 'L', 0, 0), client.Path)
	case addr.Is4():
		return c.ask(AtConnect, m, binary.BigEndian.AppendUint16(append(raw, '4'), client.Addr.Port()), addr.String())
	case addr.Is6():
		return c.ask(AtConnect, m, binary.BigEndian.AppendUint16(append(raw, '6'), client.Addr.Port()), addr.String())
	}
	return c.ask(AtConnect, m, append(raw, 'U'))
}

// Helo tells of the name that a client gives itself.
func (c *Conn) Helo(name string, m []Macro) (Verdict, error) {
	return c.ask(AtHelo, m, nil, name)
}

// Mail begins a message: the path in its brackets, and the parameters as the client
// wrote them, each for itself. A message that is still open is aborted.
func (c *Conn) Mail(path string, params []string, m []Macro) (Verdict, error) {
	if err := c.Abort(); err != nil {
		return Verdict{}, err
	}
	c.done, c.cr, c.skipped = false, false, [AtUnknown + 1]bool{}
	c.spent, c.progress, c.rcpts = 0, 0, 0
	c.open = c.settled == nil
	return c.ask(AtMail, m, nil, append([]string{path}, params...)...)
}

// Rcpt tells of a recipient as Mail does of the sender. A verdict other than Accept
// and Discard is about this recipient alone.
func (c *Conn) Rcpt(path string, params []string, m []Macro) (Verdict, error) {
	c.rcpts++
	return c.ask(AtRcpt, m, nil, append([]string{path}, params...)...)
}

// RcptRefused tells of a recipient that was refused by somebody else, where the filter
// has asked for those. The macros {rcpt_mailer}, {rcpt_host} and {rcpt_addr} are then
// "error", the enhanced status code and the text. It has no verdict.
func (c *Conn) RcptRefused(path string, params []string, m []Macro) error {
	if c.terms.Protocol&wantsRejected == 0 || !c.Wants(AtRcpt) {
		return c.err
	}
	_, err := c.exchange(AtRcpt, m, nil, append([]string{path}, params...))
	return err
}

// Data tells of the command that begins a message's octets.
func (c *Conn) Data(m []Macro) (Verdict, error) { return c.ask(AtData, m, nil) }

// Header tells of a header field: its name, and all that stands behind its colon, the
// first blank too, lines ended by LF or CR LF and the last line end left out. What is
// over the size of a packet, 64 KiB or what was agreed on, is cut off.
func (c *Conn) Header(name, value string) (Verdict, error) {
	if c.terms.Protocol&leadingBlank == 0 {
		value = strings.TrimPrefix(value, " ") // sendmail takes away one blank, and no tab
	}
	if strings.IndexByte(value, '\r') >= 0 {
		value = strings.ReplaceAll(value, "\r\n", "\n")
	}
	return c.ask(AtHeader, nil, nil, name, value)
}

// EndOfHeader tells that there are no more header fields.
func (c *Conn) EndOfHeader(m []Macro) (Verdict, error) { return c.ask(AtEndOfHeader, m, nil) }

// Unknown tells of a command that the server doesn't know, the whole line without its
// end.
func (c *Conn) Unknown(line string) (Verdict, error) { return c.ask(AtUnknown, nil, nil, line) }

// Body tells of the next piece of the body, which begins behind the empty line and has
// its lines ended by LF or CR LF; the filter gets CR LF. A piece goes in packets of the
// size that the filter takes, so that one of 64 KiB or more needs the fewest answers.
// After any verdict but Continue no more is to be told.
func (c *Conn) Body(piece []byte) (Verdict, error) {
	for len(piece) > 0 {
		if !c.Wants(AtBody) {
			return c.unasked()
		}
		n, size := fit(piece, c.cr, c.terms.chunk)
		c.begin(AtBody)
		err := c.idle()
		if err == nil {
			err = c.writeBody(piece[:n], size)
		}
		var v Verdict
		if err == nil {
			v, err = c.answer(AtBody)
		}
		if c.finish(AtBody, err) != nil {
			return Verdict{}, c.err
		}
		if c.settle(AtBody, v); v.Action != Continue {
			return v, nil
		}
		piece = piece[n:]
	}
	return Verdict{}, c.err
}

// fit returns how much of a piece goes into a packet, and what its size is there. cr
// says that the octet in front of it is a CR. No line end is cut in two.
func fit(piece []byte, cr bool, room int) (n, size int) {
	for n < len(piece) {
		i := bytes.IndexByte(piece[n:], '\n')
		if i < 0 {
			more := min(len(piece)-n, room-size)
			return n + more, size + more
		}
		if i > 0 {
			cr = piece[n+i-1] == '\r'
		}
		need := i + 1
		if !cr {
			need++
		}
		if size+need > room {
			more := min(i, room-size)
			return n + more, size + more
		}
		n, size, cr = n+i+1, size+need, false
	}
	return n, size
}

// writeBody puts a piece of the body into the buffer, as a packet of that size.
func (c *Conn) writeBody(piece []byte, size int) error {
	c.head('B', size+1)
	for len(piece) > 0 {
		line, _, found := bytes.Cut(piece, []byte("\n"))
		c.w.Write(line)
		if len(line) > 0 {
			c.cr = line[len(line)-1] == '\r'
		}
		if !found {
			break
		}
		if !c.cr {
			c.w.WriteByte('\r')
		}
		c.w.WriteByte('\n')
		c.cr = false
		piece = piece[len(line)+1:]
	}
	return c.written()
}

// unasked is what a step gives that the filter isn't told of.
func (c *Conn) unasked() (Verdict, error) {
	if c.err == nil && c.settled != nil {
		return *c.settled, nil
	}
	return Verdict{}, c.err
}

// ask tells the filter of a step, if it wants to know, and returns what it says.
func (c *Conn) ask(s Step, m []Macro, raw []byte, parts ...string) (Verdict, error) {
	if c.err != nil || c.settled != nil || s.ofMessage() && c.done || c.skipped[s] {
		return c.unasked()
	}
	v, err := c.exchange(s, m, raw, parts)
	if err == nil {
		c.settle(s, v)
	}
	return v, err
}

// exchange sends a step's macros, which filters want even of a step that they don't,
// and the step, and reads the answer.
func (c *Conn) exchange(s Step, m []Macro, raw []byte, parts []string) (Verdict, error) {
	if !c.terms.has(s) {
		return Verdict{}, nil
	}
	c.begin(s)
	err := c.idle()
	if err == nil {
		err = c.writeMacros(s, m)
	}
	var v Verdict
	if err == nil && c.terms.Protocol&table[s].not == 0 {
		if err = c.write(table[s].command, raw, parts...); err == nil {
			v, err = c.answer(s)
		}
	}
	return v, c.finish(s, err)
}

// has says whether the version has this step at all.
func (t Terms) has(s Step) bool {
	return s != AtData && s != AtUnknown || t.Version >= 4 || s == AtUnknown && t.Version >= 3
}

// answer reads the answer to a step, if there is to be one.
func (c *Conn) answer(s Step) (Verdict, error) {
	if c.terms.Protocol&table[s].mum != 0 {
		return Verdict{}, nil
	}
	if err := c.w.Flush(); err != nil {
		return Verdict{}, err
	}
	for {
		p, err := c.next()
		if err != nil {
			return Verdict{}, err
		}
		if p.code != 'p' {
			v, err := c.verdict(s, p)
			c.hear(s, v)
			return v, err
		}
		if err := p.empty(); err != nil {
			return Verdict{}, err
		}
		if err := c.prolong(s); err != nil {
			return Verdict{}, err
		}
	}
}

// hear notes that the step is answered.
func (c *Conn) hear(s Step, v Verdict) {
	c.heard = true
	switch v.Action {
	case Continue, Skip:
		c.last = false
	case Reject, Tempfail, ReplyCode:
		c.last = s != AtRcpt && s != AtUnknown // that recipient, or that command
	default:
		c.last = true
	}
}

// verdict is what a packet says at a step that it may answer.
func (c *Conn) verdict(s Step, p packet) (Verdict, error) {
	switch {
	case strings.IndexByte(table[s].answers, p.code) < 0:
		if packetName(p.code) == "" {
			return Verdict{}, fmt.Errorf("the filter sent %s, which is no answer", p)
		}
		return Verdict{}, fmt.Errorf("the filter sent %s, which is no answer to this step", p)
	case p.code == 's' && c.terms.Protocol&canSkip == 0:
		return Verdict{}, fmt.Errorf("the filter sent %s, which wasn't agreed on", p)
	case p.code != 'y':
		return Verdict{Action: verdict(p.code)}, p.empty()
	}
	data, err := c.text(p)
	if err != nil {
		return Verdict{}, fmt.Errorf("the filter's reply of %d octets: %w", p.size, err)
	}
	reply, err := readReply(data)
	if err != nil {
		return Verdict{}, err
	}
	if reply.Code == 421 { // RFC 5321 section 3.8: the channel is closed
		return Verdict{Action: Shutdown, Reply: reply}, nil
	}
	return Verdict{Action: ReplyCode, Reply: reply}, nil
}

// settle keeps what a verdict says of the steps to come.
func (c *Conn) settle(s Step, v Verdict) {
	switch {
	case v.Action == Continue || s == AtUnknown && v.Action != Shutdown && v.Action != ConnFail:
	case v.Action == Skip:
		c.skipped[s] = true
	case v.Action == Shutdown || v.Action == ConnFail:
		c.settled, c.open = &v, false
	case s == AtConnect || s == AtHelo:
		if v.Action == Accept {
			v = Verdict{}
		}
		c.settled = &v
	case s == AtRcpt && v.Action != Accept && v.Action != Discard:
	default:
		c.open, c.done = false, true
	}
}

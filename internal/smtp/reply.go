package smtp

import (
	"bufio"
	"bytes"
	"errors"
	"fmt"
	"io"
	"strconv"
	"strings"
)

// A Reply is a server's answer to one command. The zero Reply means that there
// was none.
type Reply struct {
	Code   int    // 200 to 599
	Status string // enhanced status code, "2.1.5", or ""
	Text   string // lines joined by "\n", without either code
}

// maxReplyLine is the length of a reply line with its CR LF (RFC 5321 section
// 4.5.3.1.5).
const maxReplyLine = 512

// Class is the first digit of the code; 0 for the zero Reply.
func (r Reply) Class() int { return r.Code / 100 }

// Temporary reports a 4xx.
func (r Reply) Temporary() bool { return r.Class() == 4 }

// Permanent reports a 5xx.
func (r Reply) Permanent() bool { return r.Class() == 5 }

// IsZero reports whether there was no reply.
func (r Reply) IsZero() bool { return r == Reply{} }

// String returns the reply as one line of printable ASCII: both codes, then
// all lines of the text with a blank between them.
func (r Reply) String() string {
	b := strconv.AppendInt(nil, int64(r.Code), 10)
	if r.Status != "" {
		b = append(append(b, ' '), r.Status...)
	}
	for line := range strings.SplitSeq(r.Text, "\n") {
		if line != "" {
			b = append(append(b, ' '), Masked(line, '?', IsPrintable)...)
		}
	}
	return string(b)
}

// Append adds the wire form to b: the codes on every line, octets outside
// printable ASCII as "?", lines that pass 512 octets broken at a blank.
func (r Reply) Append(b []byte) []byte {
	text, more := r.Text, true
	for more {
		var line string
		line, text, more = strings.Cut(text, "\n")
		for room := r.room(); len(line) > room; {
			at := strings.LastIndexByte(line[:room], ' ')
			if at <= 0 {
				at = room
			}
			b = r.appendLine(b, line[:at], true)
			line = strings.TrimPrefix(line[at:], " ")
		}
		b = r.appendLine(b, line, more)
	}
	return b
}

// room is how much text one line takes.
func (r Reply) room() int {
	n := maxReplyLine - len("250-\r\n")
	if r.Status != "" {
		n -= len(r.Status) + 1
	}
	return n
}

func (r Reply) appendLine(b []byte, text string, more bool) []byte {
	b = strconv.AppendInt(b, int64(r.Code), 10)
	if more {
		b = append(b, '-')
	} else {
		b = append(b, ' ')
	}
	if r.Status != "" {
		b = append(append(b, r.Status...), ' ')
	}
	return append(append(b, Masked(text, '?', IsPrintable)...), "\r\n"...)
}

// StatusFor returns an enhanced status code in the class of a reply code, as each
// must be (RFC 2034 section 4, A12).
func StatusFor(code int, status string) string {
	if status == "" {
		return ""
	}
	return strconv.Itoa(code/100) + status[1:]
}

// UnknownMailbox reports whether an enhanced status code means that there is no
// such mailbox (RFC 3463 section 3.2; 5.1.10 is RFC 7505's).
func UnknownMailbox(status string) bool { return status == "5.1.1" || status == "5.1.10" }

// Bounds of a reply as read. RFC 5321 has none for the number of lines.
const (
	maxReplyLines = 100      // lines of one reply
	maxReplyBytes = 64 << 10 // octets of one reply
	maxReplyText  = 2 << 10  // what is kept of one line
)

// ErrReply is wrapped by every error of ReadReply that is not the source's:
// what came is no reply, and the connection is out of step.
var ErrReply = errors.New("not an SMTP reply")

// ReadReply reads one reply: lines of "NNN-text" and a last one of "NNN text",
// or of the code alone (RFC 5321 section 4.2), all with one code from 200 to
// 599, each ended by CR LF or, by careless servers, LF. It stops with ErrReply
// at anything else and at the 101st line or 64 KiB. Lines are cut at 2 KiB, and
// control octets in them become "?".
func ReadReply(r *bufio.Reader) (Reply, error) {
	var (
		reply Reply
		buf   [256]byte // most replies fit
		text  = buf[:0]
		left  = maxReplyBytes
	)
	for n := 1; n <= maxReplyLines; n++ {
		line, err := readReplyLine(r, &left)
		if err != nil {
			return Reply{}, err
		}
		code, last, err := replyCode(line)
		if err != nil {
			return Reply{}, err
		}
		if n > 1 {
			if code != reply.Code {
				return Reply{}, fmt.Errorf("%w: code %d, then %d", ErrReply, reply.Code, code)
			}
			text = append(text, '\n')
		}
		reply.Code = code
		words := line[min(len("250 "), len(line)):]
		if status := leadingStatus(words, code); len(status) > 0 && (reply.Status == "" || reply.Status == string(status)) {
			reply.Status = string(status)
			words = bytes.TrimPrefix(words[len(status):], []byte{' '})
		}
		if text = appendWords(text, words); last {
			reply.Text = string(text)
			return reply, nil
		}
	}
	return Reply{}, fmt.Errorf("%w: more than %d lines", ErrReply, maxReplyLines)
}

// appendWords adds words with "?" for controls.
func appendWords(text, words []byte) []byte {
	for _, c := range words {
		if isControl(c) && c != '\t' {
			c = '?'
		}
		text = append(text, c)
	}
	return text
}

// readReplyLine returns the next line without its line end, cut at maxReplyText,
// and takes all that it reads off *left. The line is good until r reads again.
func readReplyLine(r *bufio.Reader, left *int) ([]byte, error) {
	var long []byte // the line so far, if it is longer than r's buffer
	for {
		part, err := r.ReadSlice('\n')
		if *left -= len(part); *left < 0 {
			return nil, fmt.Errorf("%w: more than %d octets", ErrReply, maxReplyBytes)
		}
		switch err {
		case nil:
			if long != nil {
				part = append(long, part...)
			}
			text := bytes.TrimSuffix(part[:len(part)-1], []byte{'\r'})
			return text[:min(len(text), maxReplyText)], nil
		case bufio.ErrBufferFull:
			long = append(long, part...)
			if n := len(long); n > maxReplyText+1 { // the last octet may be the CR
				long = append(long[:maxReplyText], long[n-1])
			}
		case io.EOF:
			return nil, io.ErrUnexpectedEOF
		default:
			return nil, err
		}
	}
}

// replyCode reads the code and the octet behind it, if there is one.
func replyCode(line []byte) (code int, last bool, err error) {
	if len(line) == 3 || len(line) > 3 && (line[3] == ' ' || line[3] == '-') {
		for _, c := range line[:3] {
			if c < '0' || c > '9' {
				code = 0
				break
			}
			code = code*10 + int(c-'0')
		}
		if 200 <= code && code <= 599 {
			return code, len(line) == 3 || line[3] == ' ', nil
		}
	}
	return 0, false, fmt.Errorf(`%w: "%.80s"`, ErrReply, Masked(string(line), '?', IsPrintable))
}

// leadingStatus returns the enhanced status code that line begins with, if it
// is one of the same class as code (RFC 2034 section 4).
func leadingStatus(line []byte, code int) []byte {
	word, _, _ := bytes.Cut(line, []byte{' '})
	if len(word) < len("2.0.0") || int(word[0]-'0') != code/100 || code/100 == 3 || word[1] != '.' {
		return nil
	}
	subject, detail, _ := bytes.Cut(word[2:], []byte{'.'})
	if !isStatusNumber(subject) || !isStatusNumber(detail) {
		return nil
	}
	return word
}

func isStatusNumber(s []byte) bool {
	return len(s) > 0 && len(s) <= 3 && len(bytes.Trim(s, "0123456789")) == 0
}

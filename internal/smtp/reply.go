package smtp

import (
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

package testenv

import (
	"fmt"
	"os"
	"strconv"
	"strings"
	"time"
)

// A Dialogue is an SMTP conversation, played by Play as either side. As text it
// has one step a line; empty lines and lines that begin with "#" are skipped.
//
//	C: text     the client says text and CR LF
//	C| text     the client sends text alone
//	C* 30s text the client sends one octet of text every 30 s
//	C!          the client closes the connection
//	S: S| S* S! the same for the server
//	S= 250      the server gives one reply with this code, however many lines
//	pause 30s   the side that is played sends nothing for that long
//	within 6m   from here on a step may take that long (at first 30 s)
//	set a=b     a setting for whoever starts the other side, see Settings
//
// The side that is played sends text after replacing \r \n \t \0 \\ \xNN and
// \{1000*ab}, which is "ab" a thousand times. What the other side says with ":"
// is a regular expression for the whole line without its CR LF; with "|" it is
// the exact octets, escaped in the same way; "!" is the end of the connection,
// after which nothing came.
type Dialogue struct {
	Name     string            // of the file, for messages
	Settings map[string]string // from "set" lines
	steps    []step
}

// A step is one line of a Dialogue.
type step struct {
	line int
	who  byte // 'C', 'S', or 0 for pause and within
	op   byte // ':', '|', '*', '!', '=', 'p', 'w'
	text string
	each time.Duration // of '*', 'p' and 'w'
}

// ReadDialogue reads a file.
func ReadDialogue(file string) (*Dialogue, error) {
	text, err := os.ReadFile(file)
	if err != nil {
		return nil, err
	}
	return ParseDialogue(file, string(text))
}

// ParseDialogue reads a dialogue from text; name stands in its errors.
func ParseDialogue(name, text string) (*Dialogue, error) {
	d := &Dialogue{Name: name, Settings: map[string]string{}}
	n := 0
	for line := range strings.SplitSeq(text, "\n") {
		n++
		if line == "" || line[0] == '#' {
			continue
		}
		if err := d.parse(line, n); err != nil {
			return nil, fmt.Errorf("%s:%d: %w", name, n, err)
		}
	}
	return d, nil
}

func (d *Dialogue) parse(line string, n int) (err error) {
	s := step{line: n}
	word, text, _ := strings.Cut(line, " ")
	switch {
	case word == "set":
		name, value, _ := strings.Cut(text, "=")
		d.Settings[name] = value
		return nil
	case word == "pause", word == "within":
		s.op = word[0]
		s.each, err = time.ParseDuration(text)
	case len(word) == 2 && (word[0] == 'C' || word[0] == 'S') && strings.Contains(":|*!=", word[1:]):
		s.who, s.op = word[0], word[1]
		if s.op == '*' {
			var each string
			each, text, _ = strings.Cut(text, " ")
			if s.each, err = time.ParseDuration(each); err != nil {
				return err
			}
		}
		s.text = text
	default:
		err = fmt.Errorf("no step: %q", line)
	}
	d.steps = append(d.steps, s)
	return err
}

// unescape replaces what a Dialogue's text may hold.
func unescape(s string) (string, error) {
	var b strings.Builder
	for i := 0; i < len(s); i++ {
		if s[i] != '\\' {
			b.WriteByte(s[i])
			continue
		}
		if i++; i == len(s) {
			return "", fmt.Errorf("backslash at the end: %q", s)
		}
		if at := strings.IndexByte(`rnt0\`, s[i]); at >= 0 {
			b.WriteByte("\r\n\t\x00\\"[at])
			continue
		}
		n, err := longEscape(&b, s[i:])
		if err != nil {
			return "", err
		}
		i += n - 1
	}
	return b.String(), nil
}

// longEscape reads xNN or {count*text} and returns its length.
func longEscape(b *strings.Builder, s string) (int, error) {
	if s[0] == 'x' && len(s) >= 3 {
		c, err := strconv.ParseUint(s[1:3], 16, 8)
		b.WriteByte(byte(c))
		return 3, err
	}
	body, _, ok := strings.Cut(s, "}")
	count, text, star := strings.Cut(strings.TrimPrefix(body, "{"), "*")
	n, err := strconv.Atoi(count)
	if s[0] != '{' || !ok || !star || err != nil {
		return 0, fmt.Errorf("bad escape: %q", s)
	}
	for range n {
		b.WriteString(text)
	}
	return len(body) + 1, nil
}

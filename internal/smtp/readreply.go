package smtp

import (
	"bufio"
	"errors"
	"fmt"
	"io"
	"strings"
)

// Bounds of a reply as read. RFC 5321 has none for the number of lines.
const (
	maxReplyLines = 100
	maxReplyBytes = 64 << 10
	maxReplyText  = 2 << 10 // what is kept of one line
)

// ErrReply is wrapped by every error of ReadReply that is not the source's:
// what came is no reply, and the connection is out of step.
var ErrReply = errors.New("not an SMTP reply")

// ReadReply reads one reply: lines of "NNN-text" and a last one of "NNN text",
// all with one code from 200 to 599, each ended by CR LF. It stops with
// ErrReply at anything else and at the 101st line or 64 KiB. Lines are cut at
// 2 KiB, and control octets in them become "?".
func ReadReply(r *bufio.Reader) (Reply, error) {
	var (
		reply Reply
		text  []byte
		left  = maxReplyBytes
	)
	for n := 1; ; n++ {
		if n > maxReplyLines {
			return Reply{}, fmt.Errorf("%w: more than %d lines", ErrReply, maxReplyLines)
		}
		line, err := readReplyLine(r, &left)
		if err != nil {
			return Reply{}, err
		}
		code, last, err := replyCode(line)
		if err != nil {
			return Reply{}, err
		}
		if n > 1 && code != reply.Code {
			return Reply{}, fmt.Errorf("%w: code %d, then %d", ErrReply, reply.Code, code)
		}
		reply.Code = code
		if n > 1 {
			text = append(text, '\n')
		}
		words := line[4:]
		if status := leadingStatus(words, code); status != "" && (reply.Status == "" || reply.Status == status) {
			reply.Status = status
			words = strings.TrimPrefix(words[len(status):], " ")
		}
		text = append(text, words...)
		if last {
			reply.Text = string(text)
			return reply, nil
		}
	}
}

// readReplyLine returns the next line without its CR LF, cut at maxReplyText,
// and takes all that it reads off *left.
func readReplyLine(r *bufio.Reader, left *int) (string, error) {
	var line []byte
	for {
		part, err := r.ReadSlice('\n')
		if *left -= len(part); *left < 0 {
			return "", fmt.Errorf("%w: more than %d octets", ErrReply, maxReplyBytes)
		}
		if err != nil && err != bufio.ErrBufferFull {
			if err == io.EOF {
				err = io.ErrUnexpectedEOF
			}
			return "", err
		}
		line = append(line, part...)
		if err == nil {
			break
		}
		if len(line) > maxReplyText+2 { // keep its end too, for the CR
			line = append(line[:maxReplyText], line[len(line)-1])
		}
	}
	n := len(line) - len("\r\n")
	if n < 0 || line[n] != '\r' {
		return "", fmt.Errorf("%w: line not ended by CR LF: %.80q", ErrReply, line)
	}
	line = line[:min(n, maxReplyText)]
	for i, c := range line {
		if isControl(c) && c != '\t' {
			line[i] = '?'
		}
	}
	return string(line), nil
}

// replyCode reads the code and the octet behind it.
func replyCode(line string) (code int, last bool, err error) {
	if len(line) >= 4 && '2' <= line[0] && line[0] <= '5' && (line[3] == ' ' || line[3] == '-') {
		for i := range 3 {
			if line[i] < '0' || line[i] > '9' {
				code = 0
				break
			}
			code = code*10 + int(line[i]-'0')
		}
		if code >= 200 {
			return code, line[3] == ' ', nil
		}
	}
	return 0, false, fmt.Errorf("%w: %.80q", ErrReply, line)
}

// leadingStatus returns the enhanced status code that line begins with, if it
// is one of the same class as code (RFC 2034 section 4), else "".
func leadingStatus(line string, code int) string {
	word, _, _ := strings.Cut(line, " ")
	if len(word) < len("2.0.0") || int(word[0]-'0') != code/100 || code/100 == 3 || word[1] != '.' {
		return ""
	}
	subject, detail, _ := strings.Cut(word[2:], ".")
	if !isStatusNumber(subject) || !isStatusNumber(detail) {
		return ""
	}
	return word
}

func isStatusNumber(s string) bool {
	return s != "" && len(s) <= 3 && strings.Trim(s, "0123456789") == ""
}

package local

import (
	"bufio"
	"bytes"
	"errors"
	"fmt"
	"io"
	"strconv"
	"strings"

	"postoffice/internal/alias"
)

// Limits of one list, as it goes from a user's process to the server.
const (
	MaxLines     = 60_000   // lines
	maxLineBytes = 16 << 20 // of all lines together, with their files
)

// EncodeLines returns the lines of a list as text, one each: the file, the
// line's number and the target, with tabs between. An error says which line
// can't be sent.
func EncodeLines(lines []Line) ([]byte, error) {
	if len(lines) > MaxLines {
		return nil, fmt.Errorf("%s: %d targets, at most %d are read", lines[0].File, len(lines), MaxLines)
	}
	var b []byte
	for _, l := range lines {
		target := l.Target.String()
		if l.Line < 1 || !plain(l.File) || strings.ContainsRune(l.File, '\t') || !plain(target) {
			return nil, fmt.Errorf("%q, line %d: %q can't be passed on: control octets", l.File, l.Line, target)
		}
		b = append(append(b, l.File...), '\t')
		b = append(strconv.AppendInt(b, int64(l.Line), 10), '\t')
		b = append(append(b, target...), '\n')
		if len(b) > maxLineBytes {
			return nil, fmt.Errorf("%s: line %d: the list is larger than %d octets", l.File, l.Line, maxLineBytes)
		}
	}
	return b, nil
}

// plain says that s has no octet that ends or hides a line; a tab may be in it.
func plain(s string) bool {
	return strings.IndexFunc(s, func(r rune) bool { return r < ' ' && r != '\t' || r == 0x7f }) < 0
}

var errLines = errors.New("no list of ours")

// DecodeLines reads what EncodeLines wrote, to the end of r. What it reads may
// come from anybody: all of it is understood, within the limits, or none.
func DecodeLines(r io.Reader) ([]Line, error) {
	in := bufio.NewScanner(io.LimitReader(r, maxLineBytes+1))
	in.Buffer(make([]byte, 0, 16<<10), maxLineBytes+2)
	in.Split(wholeLines)
	var lines []Line
	for size := 0; in.Scan(); {
		if size += len(in.Bytes()) + 1; size > maxLineBytes || len(lines) == MaxLines {
			return nil, fmt.Errorf("%w: more than %d lines or %d octets", errLines, MaxLines, maxLineBytes)
		}
		l, err := decodeLine(in.Text())
		if err != nil {
			return nil, err
		}
		if n := len(lines); n > 0 && lines[n-1].File == l.File {
			l.File = lines[n-1].File // one string for all
		}
		lines = append(lines, l)
	}
	return lines, in.Err()
}

// wholeLines is bufio.ScanLines for lines that end in "\n" alone, the last too.
func wholeLines(data []byte, atEOF bool) (advance int, token []byte, err error) {
	if i := bytes.IndexByte(data, '\n'); i >= 0 {
		return i + 1, data[:i], nil
	}
	if atEOF && len(data) > 0 {
		return 0, nil, fmt.Errorf("%w: a line without an end", errLines)
	}
	return 0, nil, nil
}

func decodeLine(text string) (Line, error) {
	f := strings.SplitN(text, "\t", 3)
	if len(f) != 3 || !plain(text) {
		return Line{}, fmt.Errorf("%w: %q", errLines, text)
	}
	n, err := strconv.Atoi(f[1])
	if err != nil || n < 1 || strconv.Itoa(n) != f[1] {
		return Line{}, fmt.Errorf("%w: line number %q", errLines, f[1])
	}
	targets, err := alias.ParseValue(f[2])
	if err != nil {
		return Line{}, fmt.Errorf("%w: %w", errLines, err)
	}
	if len(targets) != 1 {
		return Line{}, fmt.Errorf("%w: %d targets in %q", errLines, len(targets), f[2])
	}
	return Line{Target: targets[0], File: f[0], Line: n}, nil
}

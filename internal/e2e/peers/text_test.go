//go:build e2e

package peers

import (
	"bytes"
	"fmt"
	"regexp"

	"postoffice/internal/e2e/lan"
	"postoffice/internal/testenv"
)

// What may differ between a message that was sent and what arrived, each a
// function of its own, so that a direction lists what it allows.

var (
	// fieldLine begins a header field (RFC 5322 section 2.2, blanks before
	// the colon as in section 4.5).
	fieldLine = regexp.MustCompile(`^[!-9;-~]+[ \t]*:`)
	// returnPaths are Return-Path fields: they are the last server's to
	// write (RFC 5321 section 4.4), those of the message are left out.
	returnPaths = regexp.MustCompile(`(?mi)^Return-Path[ \t]*:.*\n(?:[ \t].*\n)*`)
	// received is one trace field.
	received = regexp.MustCompile(`^Received: .*\n(?:[ \t].*\n)*`)
	// mboxTop is what our mailboxes have on top of a message.
	mboxTop = regexp.MustCompile(`^From \S+ .*\nReturn-Path: <.*>\nDelivered-To: .*\n`)
)

// accepted is what a message is once postoffice took it over SMTP: LF line
// ends, no CR, a last line end (A2), no Return-Path, and an empty line in
// front of a text without header, so that it does not run into our trace
// fields (A24).
func accepted(octets []byte) []byte {
	s := testenv.SpoolForm(octets)
	if len(s) > 0 && s[0] != '\n' && !fieldLine.Match(s) {
		return append([]byte("\n"), s...)
	}
	n := headerLen(s)
	return append(returnPaths.ReplaceAll(s[:n:n], nil), s[n:]...)
}

// headerLen is where the header ends: at the empty line, or at the first line
// that is neither field nor continuation.
func headerLen(s []byte) int {
	n := 0
	for line := range bytes.SplitAfterSeq(s, []byte{'\n'}) {
		if len(line) == 0 || line[0] != ' ' && line[0] != '\t' && !fieldLine.Match(line) {
			break
		}
		n += len(line)
	}
	return n
}

// bodyOf is what stands behind the header and its empty line.
func bodyOf(s []byte) []byte {
	return bytes.TrimPrefix(s[headerLen(s):], []byte{'\n'})
}

// untraced takes our trace fields, one for each of our servers on the way, and
// the mailbox's own lines and quotes off a mailbox with a single message.
func untraced(raw []byte, hops int) ([]byte, error) {
	top := mboxTop.Find(raw)
	if top == nil {
		return nil, fmt.Errorf("no From_ line, Return-Path and Delivered-To on top: %.200q", raw)
	}
	s, ended := bytes.CutSuffix(raw[len(top):], []byte{'\n'})
	if !ended || len(s) > 0 && s[len(s)-1] != '\n' {
		return nil, fmt.Errorf("the mailbox ends without an empty line (R10): %q", raw[max(0, len(raw)-40):])
	}
	return untrace(lan.Unquoted(s), hops)
}

// untrace takes trace fields off the top.
func untrace(s []byte, hops int) ([]byte, error) {
	for range hops {
		trace := received.Find(s)
		if trace == nil {
			return nil, fmt.Errorf("a Received field is missing, at %.200q", s)
		}
		s = s[len(trace):]
	}
	return s, nil
}

// quoteFrom puts ">" before lines that begin with "From ", as local(8) of
// Postfix and appendfile of Exim do in mbox files.
func quoteFrom(s []byte) []byte {
	return regexp.MustCompile(`(?m)^From `).ReplaceAll(s, []byte(">From "))
}

// withoutFromLine leaves out a From_ line that a message begins with: our
// sendmail takes it for a mailbox's, Postfix's smtpd makes a header field
// Mailbox-Line of it.
func withoutFromLine(s []byte) []byte {
	if _, rest, ok := bytes.Cut(s, []byte{'\n'}); ok && bytes.HasPrefix(s, []byte("From ")) {
		return rest
	}
	return s
}

// crEndsLine makes each CR alone a line end, as Exim does with a message that
// it receives (its specification, "Line endings").
func crEndsLine(s []byte) []byte {
	s = bytes.ReplaceAll(s, []byte("\r\n"), []byte{'\n'})
	return bytes.ReplaceAll(s, []byte{'\r'}, []byte{'\n'})
}

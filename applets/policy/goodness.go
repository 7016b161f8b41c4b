package policy

import (
	"strings"

	"postoffice/applets/smtpd"
	"postoffice/internal/smtp"
)

// What an answer is worth; the rest is in the table of checks. The first postoffice's
// table is the same but for what is allowed, which counts nothing (A89): QUIT without
// a message, and what we refuse for now.
const (
	worthPath    = 1 // a MAIL or a RCPT of a message that is taken
	worthMessage = 2
	worthRefused = -2 // MAIL, RCPT, or DATA and BDAT out of order
	worthSilence = -1 // twice that without a MAIL
)

// tooBig is the status of what is bigger than option size.
const tooBig = "5.3.4"

// goodness is what a session's score depends on.
type goodness struct {
	points  int  // of the check that was heard last
	pending int  // of the open transaction, once its message is taken
	tried   bool // there was a MAIL
	failed  bool // a command of the transaction was refused, and so is what stands behind it
	barred  bool // the client was refused, and whatever it says is
}

// heard notes that a check has said something.
func (g *goodness) heard(c *check, v smtpd.Verdict) {
	g.points = c.points
	if v.Accepted() {
		g.points /= 2
	}
	g.barred = g.barred || v.Refuse
}

// score counts an answer for or against a stranger. As long as DNS doesn't say whether
// it is trusted nothing counts, and nothing does for one that comes through a proxy, of
// which a packet filter sees the proxy alone. What it returns ends the session.
func (s *session) score(verb, line string, r smtp.Reply) (end smtp.Reply) {
	points := s.worth(verb, line, r)
	s.points = 0
	if points == 0 || s.o.Score == nil || !s.stranger() || s.client.Via.IsValid() || s.maybeTrusted() {
		return smtp.Reply{}
	}
	if !s.o.Score(s.client, points, s.pending) {
		return smtp.Reply{}
	}
	return smtp.Reply{Code: 421, Status: "4.7.0", Text: "too much of what you sent was refused: no connection is taken from you for a while, mend that and come again later"} // option coal, behind the reply to a command that was refused
}

// worth is what an answer counts, and notes what the next ones depend on.
func (s *session) worth(verb, line string, r smtp.Reply) int {
	switch {
	case s.points != 0 && (verb == smtpd.VerbConnect || r.Permanent()):
		return s.points // a client that may not connect loses nothing by being kept out, so that its answer may be one for now
	case s.barred:
		return 0
	case verb == smtpd.VerbEnd && line == "" && r.Status == "4.4.2":
		if s.tried {
			return worthSilence
		}
		return 2 * worthSilence
	}
	switch verb {
	case "MAIL":
		return s.mailAnswered(r)
	case "RCPT":
		return s.rcptAnswered(r)
	case "DATA":
		return s.dataAnswered(r)
	case "BDAT":
		return s.chunkAnswered(line, r)
	}
	return 0
}

func (s *session) mailAnswered(r smtp.Reply) int {
	s.tried, s.pending, s.failed = true, 0, r.Class() != 2
	switch {
	case !s.failed:
		s.pending = worthPath
	case r.Permanent() && r.Status != tooBig: // a client asks whether its message is (RFC 1870)
		return worthRefused
	}
	return 0
}

func (s *session) rcptAnswered(r smtp.Reply) int {
	behind := s.failed && r.Code == 503 // of a client that did not wait (RFC 2920)
	switch {
	case r.Class() == 2:
		s.pending += worthPath
		return 0
	case r.Permanent() && !behind:
		s.failed = true
		return worthRefused
	}
	s.failed = true
	return 0
}

// dataAnswered is about the answer to DATA, or to the whole message.
func (s *session) dataAnswered(r smtp.Reply) int {
	pending, failed := s.pending, s.failed
	s.pending, s.failed = 0, false
	switch {
	case r.Class() == 2:
		return pending + worthMessage
	case !failed && (r.Code == 503 || r.Code == 554 && r.Status == "5.5.1"):
		return worthRefused
	}
	return 0
}

// chunkAnswered is about the answer to a part of a message, or to the whole with the
// last one (RFC 3030 section 2).
func (s *session) chunkAnswered(line string, r smtp.Reply) int {
	if r.Class() == 2 && !isLastChunk(line) {
		return 0
	}
	worth := s.dataAnswered(r)
	s.failed = r.Class() != 2 // and so are the chunks behind it
	return worth
}

// isLastChunk reports whether a message ends with a chunk.
func isLastChunk(line string) bool {
	line = strings.TrimRight(line, " ")
	return smtp.EqualFold(line[max(len(line)-len(" LAST"), 0):], " LAST")
}

package policy

import (
	"context"

	"postoffice/applets/filters"
	"postoffice/applets/smtpd"
	"postoffice/internal/smtp"
)

func filtered(o *Options) bool { return o.Filters != nil }

// theFilters are those of the session; nil: none is asked about it.
func (s *session) theFilters() *filters.Session {
	if !s.filtersKnown {
		s.filtersKnown, s.filters = true, s.o.Filters.Session(s.client)
	}
	return s.filters
}

func (s *session) filtersConnect(ctx context.Context, _ asked) smtpd.Verdict {
	if f := s.theFilters(); f != nil {
		return f.Connect(ctx)
	}
	return smtpd.Verdict{}
}

func (s *session) filtersHelo(ctx context.Context, _ asked) smtpd.Verdict {
	if f := s.theFilters(); f != nil {
		s.foundBad = ""
		v := s.remembered(f.Helo(ctx))
		s.helloBad = s.foundBad
		return v
	}
	return smtpd.Verdict{}
}

func (s *session) filtersMail(ctx context.Context, a asked) smtpd.Verdict {
	if f := s.theFilters(); f != nil {
		s.foundBad = s.helloBad
		return s.remembered(f.Mail(ctx, a.tx))
	}
	return smtpd.Verdict{}
}

func (s *session) filtersRcpt(ctx context.Context, a asked) smtpd.Verdict {
	if f := s.theFilters(); f != nil {
		return s.remembered(f.Rcpt(ctx, a.tx, a.path))
	}
	return smtpd.Verdict{}
}

func (s *session) filtersData(ctx context.Context, a asked) smtpd.Verdict {
	if f := s.theFilters(); f != nil {
		return s.remembered(f.Data(ctx, a.tx))
	}
	return smtpd.Verdict{}
}

// remembered is a filter's verdict before there is a message. Where option spam takes bad
// mail, a refusal for good is none, and what the client sends then is marked for it.
func (s *session) remembered(v smtpd.Verdict) smtpd.Verdict {
	if !v.Reply.Permanent() || !s.o.Spam.Take || s.safe() {
		return v
	}
	s.foundBad = v.Reply.Text
	return smtpd.Verdict{}
}

// filtersMessage shows the message to the filters. A stranger whose message one of them
// finds bad waits anew. Where option safe has it nothing of the message is shown.
func (s *session) filtersMessage(ctx context.Context, a asked) smtpd.Verdict {
	f := s.theFilters()
	if f == nil {
		return smtpd.Verdict{}
	}
	if s.safe() {
		f.Aborted()
		return smtpd.Verdict{}
	}
	v := f.Message(ctx, a.tx, a.message)
	switch {
	case v.Accepted() && s.foundBad != "":
		return v.And(s.unwanted(s.foundBad, smtp.Reply{}))
	case v.Reply.Permanent():
		return s.unwanted(v.Reply.Text, Unwanted(s.o.Spam.Why, v.Reply))
	case v.Discard != "":
		s.Junk()
	}
	return v
}

// refusedByUs tells the filters of a recipient that a check before them has refused.
func (s *session) refusedByUs(ctx context.Context, a asked, r smtp.Reply) {
	if s.filters != nil && s.cause != auditMilter {
		s.filters.Refused(ctx, a.tx, a.path, r)
	}
}

// Aborted is told of a message that is not taken.
func (s *session) Aborted() {
	if s.filters != nil {
		s.filters.Aborted()
	}
}

// Unknown asks the filters about a command that is none.
func (s *session) Unknown(ctx context.Context, line string) smtpd.Verdict {
	if s.filters == nil {
		return smtpd.Verdict{}
	}
	v := s.filters.Unknown(ctx, line)
	if !v.Accepted() {
		s.cause = auditMilter
	}
	return v
}

// Close ends the session with the filters.
func (s *session) Close() {
	if s.filters != nil {
		s.filters.Close()
	}
}

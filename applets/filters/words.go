package filters

import (
	"strings"

	"postoffice/internal/filterline"
	"postoffice/internal/smtp"
	"postoffice/milter"
)

// reply is what a client hears for a filter's verdict; the zero Reply is nothing.
func reply(v milter.Verdict) smtp.Reply {
	switch v.Action {
	case milter.Reject:
		return smtp.Reply{Code: 550, Status: "5.7.1", Text: "a mail filter here refuses this: ask postmaster, or send it otherwise"} // a filter of option filter says reject
	case milter.Tempfail:
		return smtp.Reply{Code: 451, Status: "4.7.1", Text: "a mail filter here can't say now whether it takes this, try again later"} // a filter of option filter says tempfail
	case milter.ReplyCode:
		return worded(v.Reply)
	case milter.Shutdown, milter.ConnFail:
		if !v.Reply.IsZero() {
			return worded(v.Reply)
		}
		return smtp.Reply{Code: 421, Status: "4.7.1", Text: "a mail filter here ends the session, try again later"} // a filter of option filter says shutdown, or ends the connection
	}
	return smtp.Reply{}
}

// worded is a filter's reply, in words of ours where it has none.
func worded(r smtp.Reply) smtp.Reply {
	switch {
	case strings.TrimSpace(r.Text) != "":
	case r.Permanent():
		r.Text = reply(milter.Verdict{Action: milter.Reject}).Text
	default:
		r.Text = reply(milter.Verdict{Action: milter.Tempfail}).Text
	}
	return r
}

// greeted is a reply as a greeting may have it (RFC 5321 section 4.2.4.2 and RFC 7504).
func greeted(r smtp.Reply) smtp.Reply {
	switch {
	case r.IsZero() || r.Code == 421 || r.Code == 554 || r.Code == 521:
	case r.Permanent():
		r.Code = 554
	default:
		r.Code = 421
	}
	return r
}

// unfiltered is the answer to a command for which a filter would have to be asked that
// can't be.
func unfiltered(what filterline.Failure) smtp.Reply {
	switch what {
	case filterline.Tempfail:
		return smtp.Reply{Code: 451, Status: "4.7.1", Text: "a mail filter here can't be asked now, try again later"} // option filter, with fail=tempfail; or a network has its share of a filter's connections
	case filterline.Reject:
		return smtp.Reply{Code: 550, Status: "5.7.1", Text: "a mail filter here can't be asked, so this isn't taken: send it again later"} // option filter, with fail=reject
	}
	return smtp.Reply{}
}

package policy

import (
	"context"

	"postoffice/applets/smtpd"
)

// stage is when a check is asked.
type stage uint8

const (
	atConnect stage = iota
	atHelo
	atMail
	atRcpt
	atData
	atMessage
)

// A check is one row of the table.
type check struct {
	name      string
	at        stage
	option    string                // that turns it on; "" is none
	on        func(o *Options) bool // whether it does; nil: always
	strangers bool                  // it isn't asked about this machine's programs and trusted clients
	soft      bool                  // option soft-deny holds for it
	audit     string                // what the audit record says of it, mailaudit(5), where the command doesn't
	points    int                   // that a client gets for it, where its command doesn't say it; half where its mail is taken all the same
	also      bool                  // it is asked also where a check before it has something to say that is no refusal
	do        func(s *session, ctx context.Context, a asked) smtpd.Verdict
}

// checks are all there are, in the order in which they are asked.
var checks = [...]check{
	{name: "hosts files", at: atConnect, option: "hosts-deny", on: func(o *Options) bool { return o.HostsDeny != "" || o.HostsAllow != "" },
		strangers: true, soft: true, audit: auditForbidden, points: -10, do: (*session).byHostsFiles},
	{name: "name leads back", at: atConnect, option: "dnscheck", on: func(o *Options) bool { return o.DNSCheck },
		strangers: true, soft: true, audit: auditStranger, points: -10, do: (*session).nameLeadsBack},
	{name: "client has a name", at: atConnect, option: "paranoid", on: func(o *Options) bool { return o.Paranoid },
		strangers: true, soft: true, audit: auditStranger, points: -10, do: (*session).hasName},
	{name: "we are its exchanger", at: atConnect, option: "localmx", on: func(o *Options) bool { return o.LocalMX },
		strangers: true, do: (*session).isLocalMX},
	{name: "HELO is not our name", at: atHelo, option: "checkhelo", on: func(o *Options) bool { return o.CheckHelo },
		strangers: true, soft: true, points: -4, do: (*session).helloIsNotUs},
	{name: "submission is for ours", at: atMail, strangers: true, soft: true, do: (*session).maySubmit},
	{name: "sender is real", at: atMail, option: "verify-from", on: func(o *Options) bool { return o.VerifyFrom },
		strangers: true, soft: true, do: (*session).senderIsReal},
	{name: "sender is the account's", at: atMail, on: func(o *Options) bool { return o.OwnSender != nil }, do: (*session).senderIsOwn},
	{name: "stranger was seen", at: atMail, option: "greylist", on: greylisted, strangers: true, soft: true, do: (*session).greylistAsks}, // behind all that refuse
	{name: "no null sender", at: atData, option: "nodaemon", on: func(o *Options) bool { return o.NoDaemon },
		soft: true, audit: auditProhibited, do: (*session).noNullSender},
	{name: "stranger has waited", at: atData, option: "greylist", on: greylisted, strangers: true, soft: true, do: (*session).greylistWaits},
	{name: "recipient", at: atRcpt, do: (*session).recipient},
	{name: "whom ours write to", at: atMessage, on: greylisted, do: (*session).oursWrite},
	{name: "filters", at: atConnect, option: "filter", on: filtered, also: true, soft: true, audit: auditMilter, do: (*session).filtersConnect},
	{name: "filters", at: atHelo, option: "filter", on: filtered, also: true, soft: true, audit: auditMilter, do: (*session).filtersHelo},
	{name: "filters", at: atMail, option: "filter", on: filtered, also: true, soft: true, audit: auditMilter, do: (*session).filtersMail},
	{name: "filters", at: atData, option: "filter", on: filtered, also: true, soft: true, audit: auditMilter, do: (*session).filtersData},
	{name: "filters", at: atRcpt, option: "filter", on: filtered, also: true, soft: true, audit: auditMilter, do: (*session).filtersRcpt},
	{name: "filters", at: atMessage, option: "filter", on: filtered, also: true, soft: true, audit: auditMilter, do: (*session).filtersMessage},
	{name: "nothing bad is in it", at: atMessage, option: "av", on: func(o *Options) bool { return o.Scan != nil }, also: true,
		soft: true, do: (*session).scan},
}

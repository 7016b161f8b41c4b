package route

import (
	"context"

	"postoffice/deliver/local"
	"postoffice/internal/account"
	"postoffice/internal/smtp"
	"postoffice/spool/envelope"
)

// NotRelayed is the status of Recipient for what is not local and whose client
// may not send elsewhere.
const NotRelayed = "5.7.1"

// A Question is what is asked about a recipient before its message comes.
type Question struct {
	From, To smtp.Path
	Octets   int64 // that the message is said to have, 0 for not known; Unasked
	Trusted  bool  // its client may send elsewhere
}

// Unasked is Question.Octets where no message comes: it is asked only whether there is
// such a recipient.
const Unasked = -1

// Recipient returns the answer to RCPT: a zero Reply means that it is accepted.
// A trusted client's foreign domains are accepted without any question to
// DNS; a stranger may send to what is local and nowhere else.
// The error is for the log: strangers are not told what is wrong here.
func (r *Router) Recipient(ctx context.Context, q Question) (smtp.Reply, error) {
	to := q.To
	if envelope.CheckRecipient(to) != nil { // nothing could be queued for it
		return smtp.Reply{Code: 553, Status: "5.1.3", Text: "no mailbox has such a name, check the address"}, nil // an address that no message in the queue can have
	}
	isLocal, err := r.isStatic(to.Domain)
	if !isLocal {
		if words := r.routedBack(q); words != "" {
			return smtp.Reply{Code: 550, Status: "5.7.1", Text: words}, nil // option routes: the line says what to do
		}
	}
	switch {
	case !isLocal && q.Trusted:
		return smtp.Reply{}, nil
	case err != nil:
		return smtp.Reply{Code: 451, Status: "4.3.0", Text: "it isn't known now whether that domain is this machine's, try again later"}, err // the list of virtual domains, or our own addresses, can't be read
	}
	if !isLocal {
		isLocal, err = r.IsLocal(ctx, to.Domain)
		pooled := false
		if r.o.MXPool && !isLocal && err == nil {
			pooled, err = r.isBackup(ctx, to.Domain)
		}
		switch {
		case pooled:
			return smtp.Reply{}, nil
		case err != nil:
			return smtp.Reply{Code: 451, Status: "4.4.3", Text: "the name service does not answer for that domain, try again later"}, nil // whether a domain is ours is not known now
		case !isLocal:
			return smtp.Reply{Code: 550, Status: NotRelayed, Text: "no mail is relayed to that domain for you, send it through the server that serves you"}, nil // a stranger, and a domain that is not ours
		}
	}
	return r.here(ctx, q)
}

// here is Recipient for a domain that is local.
func (r *Router) here(ctx context.Context, q Question) (smtp.Reply, error) {
	switch f, why, err := r.missing(ctx, q.To, q.Trusted); {
	case err != nil:
		return smtp.Reply{Code: 451, Status: "4.3.0", Text: "the user database can't be read now, try again later"}, err // accounts or aliases: the log says more
	case why != "" && !q.Trusted:
		return smtp.Reply{Code: 550, Status: "5.1.1", Text: noUser + ", check the address"}, nil // neither an alias, nor an account, nor in option usermap
	case why != "":
		return smtp.Reply{Code: 550, Status: "5.1.1", Text: why + ", check the address"}, nil // the same, for a trusted client: why it is no account of mail
	default:
		return r.room(ctx, f.account, q.Octets), nil
	}
}

// routedBack is what a line of option routes says that refuses the message, "" where none
// does. Whom a line for all domains or a sender's refuses are those who may send
// elsewhere, and where DNS may yet say that the domain is ours it is the queue run's.
func (r *Router) routedBack(q Question) string {
	w, named, ok := r.o.Routes.Find(r.Qualified(q.From), q.To.Domain)
	if !ok || !named && (!q.Trusted || r.o.LocalByDNS) {
		return ""
	}
	return w.Error
}

// bounded gives a user of a virtual domain the bound that counts. A server that keeps the
// mailboxes has its own.
func (r *Router) bounded(a account.Account) account.Account {
	switch {
	case r.Store(a) != "" || a.Quota < 0:
		a.Quota = 0
	case a.Quota == 0:
		a.Quota = r.o.VirtualQuota
	}
	return a
}

// room refuses a message for whose octets an account's mailbox has no room: for good
// where it never can have. What isn't known now refuses nothing: the delivery counts
// again.
func (r *Router) room(ctx context.Context, a account.Account, octets int64) smtp.Reply {
	size := octets + local.RoomInFront
	switch {
	case a.Quota == 0 || octets < 0:
		return smtp.Reply{}
	case octets > a.Quota-local.RoomInFront:
		return smtp.Reply{Code: 552, Status: "5.2.3", Text: "that is larger than all that this mailbox may have, send it in parts or by another way"} // option vhost-quota, and SIZE
	}
	if n, known := r.used(ctx, a, a.Quota-size); known && n > a.Quota-size {
		return smtp.Reply{Code: 452, Status: "4.2.2", Text: "this mailbox is full, try again when its user has removed some mail"} // option vhost-quota
	}
	return smtp.Reply{}
}

// used is what an account's mailbox has, where that is known now.
func (r *Router) used(ctx context.Context, a account.Account, enough int64) (octets int64, known bool) {
	name, domain, _ := account.SplitVirtual(a.Name)
	n, err := r.o.Virtual.Used(ctx, domain, name, enough)
	return n, err == nil
}

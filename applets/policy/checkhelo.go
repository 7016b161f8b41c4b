package policy

import (
	"context"
	"net/netip"
	"slices"
	"strings"

	"postoffice/applets/smtpd"
	"postoffice/internal/smtp"
)

// helloIsNotUs refuses a stranger that calls itself by a name, or an address, of
// this machine. Only the first word counts, with a dot behind it or without. A
// loopback address that DNS gives a name is nobody's: hosts of large senders have such
// names.
func (s *session) helloIsNotUs(ctx context.Context, _ asked) smtpd.Verdict {
	name, _, _ := strings.Cut(strings.TrimLeft(s.client.Hello, " "), " ")
	name = smtp.AsHost(name)
	if a, ok := literal(name); ok && !s.o.Ours(a) || !ok && !s.o.OurName(name) && !s.leadsToUs(ctx, name) {
		return smtpd.Verdict{}
	}
	return smtpd.Verdict{Refuse: true, Reply: smtp.Reply{Code: 550, Status: "5.7.1",
		Text: "that is this machine's own name: say your own in HELO or EHLO"}} // option checkhelo
}

// leadsToUs reports whether a name has an address of this machine in DNS. What DNS
// doesn't say is nothing against it.
func (s *session) leadsToUs(ctx context.Context, name string) bool {
	addrs, err := s.o.Addrs(ctx, name)
	return err == nil && slices.ContainsFunc(addrs, func(a netip.Addr) bool { return !a.IsLoopback() && s.o.Ours(a) })
}

// literal reads an address literal, or an address that lacks its brackets.
func literal(name string) (netip.Addr, bool) {
	if a, ok := smtp.ParseLiteral(name); ok {
		return a, true
	}
	a, err := netip.ParseAddr(name)
	return a.Unmap(), err == nil
}

package remote

import (
	"crypto/tls"
	"errors"
	"fmt"
	"slices"
	"strings"

	"postoffice/deliver/outcome"
	"postoffice/deliver/remote/cert"
	"postoffice/internal/smtp"
)

// Security is what a message needs of the way to its next hop (RFC 8689).
type Security int

const (
	Opportunistic Security = iota // TLS where it is offered, with any certificate
	Required                      // a host that is who it should be, under TLS, and obeys REQUIRETLS too; else the message goes back
	Wanted                        // the same where it can be had: a report is not dropped for it (section 5)
)

// Needs returns what a message with these parameters of MAIL needs.
func Needs(params []smtp.Param, reverse smtp.Path) Security {
	_, required := smtp.FindParam(params, smtp.ParamTLS)
	switch {
	case !required:
		return Opportunistic
	case reverse.IsNull():
		return Wanted
	}
	return Required
}

// Secured returns the hop for messages that need s. It has sessions of its own, and
// what is found of it is nothing that is known of the hop for other messages.
func (h Hop) Secured(s Security) Hop {
	if s == Opportunistic || h.Socket != "" {
		return h
	}
	h.Security = s
	h.Key = [...]string{Required: "requiretls ", Wanted: "requiretls-reports "}[s] + h.Key
	var unknown []string // for another domain with the same hosts they may be vouched for
	for _, t := range h.Targets {
		if !t.Vouched {
			unknown = append(unknown, " -"+smtp.Fold(t.Host))
		}
	}
	slices.Sort(unknown)
	h.Key += strings.Join(unknown, "")
	return h
}

// vouched says whether the name of an exchanger is no forger's: DNSSEC vouches for the
// record, or the name is the domain itself or lies in it, where nobody but the domain's
// owner gets a certificate (RFC 8689 section 4.2.1 has MTA-STS for the second).
func vouched(domain, host string, signed bool) bool {
	domain, host = smtp.Fold(strings.TrimSuffix(domain, ".")), smtp.Fold(host)
	return signed || host == domain || strings.HasSuffix(host, "."+domain)
}

// insecure makes the failure of a host that can't have a message which needs TLS.
func insecure(status, text string) *outcome.Failure { return bounce(550, status, text, nil) }

func notVouched(t Target) *outcome.Failure {
	return insecure("5.7.10", "the message needs TLS with a server that is known (REQUIRETLS), and that "+t.Host+" is one is said by unsigned DNS alone")
}

func noTLS(relay string) *outcome.Failure {
	return insecure("5.7.10", "the message needs TLS (REQUIRETLS), which "+relay+" does not offer")
}

func noRequireTLS(relay string) *outcome.Failure {
	return insecure("5.7.30", "the message needs TLS up to its recipients (REQUIRETLS), for which "+relay+" does not stand in")
}

// verify says what is wrong with the certificate of host. Only what an expired one, or
// this machine's own want, leaves open is a deferral.
func (o Options) verify(state tls.ConnectionState, host, relay string) error {
	err := cert.Wanted{Host: host, Roots: o.Roots}.Check(state)
	switch {
	case err == nil:
		return nil
	case err == cert.ErrNoRoots:
		return deferral(err)
	}
	text := fmt.Sprintf("the message needs TLS with a server that is known (REQUIRETLS), and the certificate of %s can't be trusted: %v", relay, err)
	if cert.Expired(err) {
		return deferral(errors.New(text))
	}
	return insecure("5.7.10", smtp.Printable(text, maxCertWords))
}

// maxCertWords is how much is said of a certificate that can't be trusted, in octets: it has
// names that anybody may have chosen.
const maxCertWords = 400

// shared is which of two failures speaks for all hosts: one that may pass, since the
// mail may go that way yet, else that of the better host.
func shared(first, next error) error {
	if first == nil || outcome.Of(first).Action == outcome.Bounced && outcome.Of(next).Action != outcome.Bounced {
		return next
	}
	return first
}

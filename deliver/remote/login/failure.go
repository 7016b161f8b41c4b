package login

import (
	"crypto/x509"
	"errors"
	"fmt"
	"strings"
	"time"

	"postoffice/deliver/remote/cert"
	"postoffice/internal/sasl"
	"postoffice/internal/smarthost"
	"postoffice/internal/smtp"
)

// A Failure says why no session with a smarthost came to be, and what to do: the
// account, the file of passwords, the certificate and the clock can be mended, so it is
// a deferral whatever the smarthost said.
type Failure struct {
	Reply smtp.Reply // what the smarthost said, if it did
	Words string     // what it means, and what to do

	unasked bool  // nothing was sent anywhere: it is no failure of a login
	err     error // what it came of
}

func (f *Failure) Error() string { return f.Words }
func (f *Failure) Unwrap() error { return f.err }

// badTLS is the failure of an encryption that is demanded.
func badTLS(h smarthost.Host, err error) *Failure {
	f := &Failure{err: err}
	var (
		unknown x509.UnknownAuthorityError
		name    x509.HostnameError
		invalid x509.CertificateInvalidError
		other   cert.OtherError
	)
	const own = "name its authority's file with relay-tls=/path, or the certificate with relay-tls=fingerprint:SHA256:DIGITS, if it is the right one"
	switch {
	case errors.As(err, &other):
		f.Words = "its certificate is not the one that relay-tls names: " + other.Error() + ": look whether it was renewed, and name the new one with relay-tls"
	case errors.Is(err, cert.ErrNoRoots):
		f.Words = "this machine has no list of authorities: install ca-certificates and restart the server, or " + own
	case errors.As(err, &unknown):
		f.Words = "its certificate comes from an authority that is not trusted here: " + own
	case errors.As(err, &name):
		f.Words = fmt.Sprintf("its certificate is for %s and not for %s: write relay-host with the name that the provider tells", names(name.Certificate), h.Place())
	case cert.Expired(err) && errors.As(err, &invalid):
		f.Words = fmt.Sprintf("its certificate holds from %s to %s: look at this machine's clock, else the provider has to renew it",
			invalid.Cert.NotBefore.UTC().Format(time.DateOnly), invalid.Cert.NotAfter.UTC().Format(time.DateOnly))
	default:
		f.Words = "TLS failed: " + smtp.InWords(err).Error() + ": look whether scheme and port of relay-host are those that the provider tells"
	}
	return f
}

// names are those of a certificate, at most three.
func names(c *x509.Certificate) string {
	all := append([]string(nil), c.DNSNames...)
	for _, a := range c.IPAddresses {
		all = append(all, a.String())
	}
	for i := range all {
		all[i] = smtp.Printable(all[i], 100)
	}
	switch {
	case len(all) == 0:
		return "no name"
	case len(all) > 3:
		all = append(all[:3], "others")
	}
	return strings.Join(all, ", ")
}

// noTLS is that of a host that offers none.
func noTLS(h smarthost.Host) *Failure {
	if h.Scheme == smarthost.Submission {
		return &Failure{Words: "it offers no STARTTLS, and " + h.Scheme.String() + ":// demands it: try submissions://, or ask the provider"}
	}
	return &Failure{Words: "it offers no STARTTLS, and a login or relay-tls demands it: try submissions://, or ask the provider"}
}

// refused is that of a login that the host did not accept.
func refused(h smarthost.Host, mechanism string, r smtp.Reply) *Failure {
	f := &Failure{Reply: r}
	switch {
	case r.Permanent() && (r.Code == 534 || r.Code == 538 || r.Code == 504 || r.Code == 502):
		f.Words = fmt.Sprintf("login of %s at %s by %s not accepted: name another mechanism, as %s;auth=LOGIN@%s, or ask the provider how programs log in", h.User, h.Place(), mechanism, h.User, h.Place())
	case r.Permanent():
		f.Words = fmt.Sprintf("login of %s at %s refused: look at user and password in relay-passwords; many providers want a password made for programs, and not the one for their pages", h.User, h.Place())
	default:
		f.Words = fmt.Sprintf("login of %s at %s not checked now: it is tried again", h.User, h.Place())
	}
	return f
}

// unable is that of a login that can't be begun, or didn't end well.
func unable(h smarthost.Host, err error) *Failure {
	f := &Failure{err: err}
	switch {
	case errors.Is(err, sasl.ErrToken):
		f.Words = fmt.Sprintf("%s offers logins with a token alone: have relay-password-command print one, and name %s;auth=XOAUTH2@%s", h.Place(), h.User, h.Place())
	case errors.Is(err, sasl.ErrNone):
		f.Words = fmt.Sprintf("no login of %s at %s: %v: look whether scheme and port of relay-host are those that the provider tells", h.User, h.Place(), err)
	case errors.Is(err, sasl.ErrImpostor):
		f.Words = fmt.Sprintf("%s took the login of %s without knowing the password: nothing is sent there; look whether somebody is in between", h.Place(), h.User)
	default:
		f.Words = fmt.Sprintf("login of %s at %s came to nothing: %v", h.User, h.Place(), err)
	}
	return f
}

// cutOff is that of a login in which the connection broke.
func cutOff(h smarthost.Host, err error) *Failure {
	return &Failure{Words: fmt.Sprintf("connection ended within the login of %s at %s: %v: some hosts refuse a login so: look at user and password, else ask the provider", h.User, h.Place(), smtp.InWords(err)), err: err}
}

// noPassword is that of a login for which there is none.
func noPassword(h smarthost.Host, err error) *Failure {
	return &Failure{Words: fmt.Sprintf("no password for %s at %s: %v", h.User, h.Place(), err), unasked: true, err: err}
}

package login

import (
	"crypto/tls"
	"errors"
	"strings"

	"postoffice/internal/sasl"
	"postoffice/internal/smtp"
)

// StartTLS encrypts a session that has begun in clear, as the host's scheme demands.
func (t *Turn) StartTLS(c *smtp.Client) error {
	if _, ok := c.Has("STARTTLS"); !ok {
		return noTLS(t.host)
	}
	return t.encrypt(c.StartTLS)
}

// Encrypt encrypts a session before its greeting.
func (t *Turn) Encrypt(c *smtp.Client) error { return t.encrypt(c.Encrypt) }

func (t *Turn) encrypt(shake func(*tls.Config) error) error {
	w, err := wanted(t.host, t.keeper.Trust(), t.keeper.roots)
	if err != nil {
		return err
	}
	err = shake(w.Config())
	if refused := (*smtp.RefusedError)(nil); errors.As(err, &refused) {
		f := noTLS(t.host)
		f.Reply = refused.Reply
		return f
	}
	if err != nil {
		return badTLS(t.host, err)
	}
	return nil
}

// Auth logs in, if the host is to be logged in at. The error is a *Failure.
func (t *Turn) Auth(c *smtp.Client) error {
	if t.host.User == "" {
		return nil
	}
	offer, ok := c.Has("AUTH")
	if !ok {
		return unable(t.host, sasl.ErrNone)
	}
	credentials := sasl.Credentials{
		User: t.host.User, Secret: t.password, Mechanism: t.host.Mechanism, Host: t.host.Place(), Port: t.host.PortOr(25),
	}
	if state, ok := c.TLS(); ok && len(state.PeerCertificates) > 0 {
		credentials.Binding = sasl.BindingsOf(state, state.PeerCertificates[0]).Best()
	}
	mechanism, exchange, err := sasl.Choose(strings.Fields(strings.ToUpper(offer)), credentials)
	if err != nil {
		return unable(t.host, err)
	}
	reply, err := c.Auth(smtp.Login{Mechanism: mechanism, Exchange: exchange, Secret: t.password})
	if auth := (*smtp.AuthError)(nil); errors.As(err, &auth) {
		return unable(t.host, auth.Err)
	}
	switch {
	case err != nil:
		return cutOff(t.host, err)
	case reply.Code == 235:
		return nil
	}
	return refused(t.host, mechanism, reply)
}

package sasl

import (
	"errors"
	"fmt"
	"slices"
	"strings"
)

// The mechanisms.
const (
	ScramSHA256Plus = "SCRAM-SHA-256-PLUS" // RFC 7677, RFC 5802
	ScramSHA256     = "SCRAM-SHA-256"
	Plain           = "PLAIN"    // RFC 4616
	Login           = "LOGIN"    // never became an RFC
	CramMD5         = "CRAM-MD5" // RFC 2195
	OAuthBearer     = "OAUTHBEARER"
	XOAuth2         = "XOAUTH2" // Google's, before RFC 7628
)

// passwords are the mechanisms for a password, the best first: those that prove that
// we know it, to a server that proves it too; those that show it to a server whose
// certificate is good; one that neither verifies the server nor holds against
// guessing.
var passwords = [...]string{ScramSHA256Plus, ScramSHA256, Plain, Login, CramMD5}

// tokens are those for an OAuth 2.0 token.
var tokens = [...]string{OAuthBearer, XOAuth2}

// A Client is one exchange, from the side of who logs in.
type Client interface {
	// Next answers what the server says. The first call is made with nil, before it
	// has said anything: an answer that isn't nil goes along with the command.
	Next(challenge []byte) (response []byte, err error)
	// Done is asked when the server says that the login has worked: an error says
	// that it can't have.
	Done() error
}

// Credentials are what somebody logs in with.
type Credentials struct {
	User   string
	Secret string // a password, or a token

	Mechanism string  // the one to take; "" the best for a password
	Host      string  // the server's name, for OAUTHBEARER
	Port      int     // the server's port, for the same
	Binding   Binding // of the TLS below; the zero Binding: there is none
}

// Errors that say why no exchange begins or ends well.
var (
	// ErrNone: the server offers nothing that we can take.
	ErrNone = errors.New("no way to log in that is known here")
	// ErrToken: the server offers mechanisms for tokens alone.
	ErrToken = errors.New("a login with a token alone")
	// ErrServer: the server has said what doesn't belong into the exchange.
	ErrServer = errors.New("the server broke the rules of the login")
	// ErrImpostor: the server doesn't know the password itself.
	ErrImpostor = errors.New("the server did not prove that it knows the password")
)

// Choose begins an exchange with the best of the offered mechanisms.
func Choose(offered []string, c Credentials) (mechanism string, client Client, err error) {
	if strings.ContainsRune(c.User, 0) || strings.ContainsRune(c.Secret, 0) {
		return "", nil, errors.New("a NUL in a user's name or a password")
	}
	has := func(name string) bool { return slices.Contains(offered, name) }
	switch {
	case c.Mechanism != "":
		if !has(c.Mechanism) {
			return "", nil, fmt.Errorf("%w: %s is not among what the server offers", ErrNone, c.Mechanism)
		}
		mechanism = c.Mechanism
	default:
		for _, name := range passwords {
			if has(name) && (name != ScramSHA256Plus || c.Binding.Name != "") {
				mechanism = name
				break
			}
		}
	}
	switch {
	case mechanism != "":
	case slices.ContainsFunc(tokens[:], has):
		return "", nil, ErrToken
	default:
		return "", nil, ErrNone
	}
	client, err = begin(mechanism, c, has(ScramSHA256Plus))
	return mechanism, client, err
}

// Known reports whether there is a mechanism of this name.
func Known(name string) bool {
	return slices.Contains(passwords[:], name) || slices.Contains(tokens[:], name)
}

// begin makes the Client of a mechanism. plus says whether the server offers channel
// binding.
func begin(mechanism string, c Credentials, plus bool) (Client, error) {
	switch mechanism {
	case ScramSHA256Plus:
		if c.Binding.Name == "" {
			return nil, fmt.Errorf("%w: %s needs TLS", ErrNone, mechanism)
		}
		return newScram(c, bound)
	case ScramSHA256:
		if c.Binding.Name != "" && !plus {
			return newScram(c, unoffered)
		}
		return newScram(c, unbound)
	case Plain:
		return &plain{c: c}, nil
	case Login:
		return &login{c: c}, nil
	case CramMD5:
		return &cram{c: c}, nil
	case OAuthBearer, XOAuth2:
		return &token{c: c, bearer: mechanism == OAuthBearer}, nil
	}
	return nil, fmt.Errorf("%w: %q", ErrNone, mechanism)
}

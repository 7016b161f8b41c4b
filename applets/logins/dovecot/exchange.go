package dovecot

import (
	"context"
	"encoding/base64"
	"errors"
	"fmt"
	"time"

	"postoffice/applets/smtpd/login"
	"postoffice/internal/smtp"
)

// id is the number of the exchange on its connection.
const id = "1"

// exchange is one login.
type exchange struct {
	source    *Source
	client    login.Client
	mechanism string
	conn      *conn // nil: it has not begun
}

// Step passes what the client said on, and what the service answers back.
func (e *exchange) Step(ctx context.Context, response []byte) (challenge []byte, r login.Result) {
	challenge, r, err := e.step(ctx, response)
	if err != nil {
		r = login.Result{Answer: login.Later, Err: err}
	}
	if r.Answer != login.Asks {
		e.Close()
	}
	return challenge, r
}

func (e *exchange) step(ctx context.Context, response []byte) ([]byte, login.Result, error) {
	fields := []string{"CONT", id, base64.StdEncoding.EncodeToString(response)}
	if e.conn == nil {
		c, err := e.source.dial(ctx)
		if err != nil {
			return nil, login.Result{}, err
		}
		e.conn = c
		fields = e.begin(response)
	}
	e.conn.SetDeadline(time.Now().Add(answerWait))
	stop := context.AfterFunc(ctx, func() { e.conn.SetDeadline(time.Unix(1, 0)) })
	defer stop()
	if _, err := e.conn.Write(line(fields...)); err != nil {
		return nil, login.Result{}, e.silent(err)
	}
	for range maxLines {
		f, err := readLine(e.conn.r)
		if err != nil {
			return nil, login.Result{}, e.silent(err)
		}
		if len(f) > 1 && f[1] == id {
			switch f[0] {
			case "CONT":
				challenge, err := challengeOf(f)
				return challenge, login.Result{}, err
			case "OK":
				user, _ := find(f[2:], "user")
				return nil, login.Result{Answer: login.Yes, User: user}, nil
			case "FAIL":
				return nil, refusal(f[2:]), nil
			}
		}
	}
	return nil, login.Result{}, e.silent(errOther)
}

var errOther = errors.New("200 lines of it are no answer") // maxLines

// silent says that the service didn't answer.
func (e *exchange) silent(err error) error {
	return fmt.Errorf("the login service at %s doesn't answer: %w; its log may say why", e.source.socket, smtp.InWords(err))
}

// begin are the fields of AUTH. What the client said is the last one.
func (e *exchange) begin(response []byte) []string {
	c := e.client
	f := []string{"AUTH", id, e.mechanism, "service=smtp", "nologin", "session=" + c.Session}
	if c.Addr.IsValid() {
		f = append(f, "rip="+c.Addr.Addr().String(), "rport="+fmt.Sprint(c.Addr.Port()))
	}
	if c.Server.IsValid() {
		f = append(f, "lip="+c.Server.Addr().String(), "lport="+fmt.Sprint(c.Server.Port()))
	}
	if c.TLS {
		f = append(f, "secured")
	}
	if response != nil {
		f = append(f, "resp="+base64.StdEncoding.EncodeToString(response))
	}
	return f
}

var errChallenge = errors.New("the login service asks for what no reply has room for")

// challengeOf decodes what the client is to be asked.
func challengeOf(f []string) ([]byte, error) {
	if len(f) < 3 {
		return nil, nil
	}
	b, err := base64.StdEncoding.DecodeString(f[2])
	switch {
	case err != nil:
		return nil, fmt.Errorf("the login service's challenge: %w", err)
	case len(b) > login.MaxChallenge:
		return nil, errChallenge
	}
	return b, nil
}

// refusal is what FAIL means: no, or not now.
func refusal(fields []string) login.Result {
	code, _ := find(fields, "code")
	_, temp := find(fields, "temp")
	if temp || code == "temp_fail" {
		return login.Result{Answer: login.Later, Err: errors.New("the login service has a fault; its log says which")}
	}
	r := login.Result{Answer: login.No}
	for _, why := range []string{"user_disabled", "pass_expired", "authz"} {
		if _, ok := find(fields, why); ok || code == why {
			r.Err = errors.New("the login service says " + why)
		}
	}
	return r
}

// Close ends the connection, and with it what the service has of the login.
func (e *exchange) Close() {
	if e.conn != nil {
		e.conn.Close()
	}
}

package server

import (
	"errors"
	"io"
	"testing"

	"postoffice/internal/smtp"
	"postoffice/spool/maildrop"
)

// TestTaken: a message that was left is removed when all its recipients have
// it, set aside when it is refused, and else tried again.
func TestTaken(t *testing.T) {
	ok, data := smtp.Reply{Code: 250}, smtp.Reply{Code: 354}
	later, no := smtp.Reply{Code: 452}, smtp.Reply{Code: 554}
	rcpt := func(r ...smtp.Reply) []smtp.Reply { return r }
	for _, tt := range []struct {
		name  string
		res   smtp.TransactionResult
		err   error
		taken bool
		never bool
	}{
		{name: "all well", res: smtp.TransactionResult{Mail: ok, Rcpt: rcpt(ok, ok), Data: data, Final: ok}, taken: true},
		{name: "no room", res: smtp.TransactionResult{Mail: later, Rcpt: rcpt(smtp.Reply{})}},
		{name: "too big", res: smtp.TransactionResult{Mail: no, Rcpt: rcpt(smtp.Reply{})}, never: true},
		{name: "no room at the end", res: smtp.TransactionResult{Mail: ok, Rcpt: rcpt(ok), Data: data, Final: later}},
		{name: "loop", res: smtp.TransactionResult{Mail: ok, Rcpt: rcpt(ok), Data: data, Final: no}, never: true},
		{name: "nobody now", res: smtp.TransactionResult{Mail: ok, Rcpt: rcpt(later)}},
		{name: "some later, but the others have it", res: smtp.TransactionResult{Mail: ok, Rcpt: rcpt(ok, later), Data: data, Final: ok}, never: true},
		{name: "connection lost", res: smtp.TransactionResult{Mail: ok, Rcpt: rcpt(ok), Data: data}, err: io.ErrUnexpectedEOF},
		{name: "changed while it was read", res: smtp.TransactionResult{Mail: ok, Rcpt: rcpt(ok), Data: data}, err: maildrop.ErrNever, never: true},
		{name: "nothing said", res: smtp.TransactionResult{Rcpt: rcpt(smtp.Reply{})}},
	} {
		err := taken(tt.res, tt.err)
		if (err == nil) != tt.taken || errors.Is(err, maildrop.ErrNever) != tt.never {
			t.Errorf("%s: %v; want taken %v, never %v", tt.name, err, tt.taken, tt.never)
		}
	}
}

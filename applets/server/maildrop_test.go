package server

import (
	"errors"
	"io"
	"testing"

	"postoffice/applets/config"
	"postoffice/applets/judging"
	"postoffice/internal/smtp"
	"postoffice/spool/envelope"
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

// TestUnwanted: what filters refuse of mail that waits goes back, in the words of option spam
// where it is the message, or is marked; who takes bad mail takes it for all recipients.
func TestUnwanted(t *testing.T) {
	no := smtp.Reply{Code: 554, Status: "5.7.1", Text: "it is bad"}
	two := func() map[envelope.Key]smtp.Reply {
		return map[envelope.Key]smtp.Reply{{Index: 2}: {Code: 550, Text: "not third"}, {Index: 1}: {Code: 550, Text: "not second"}}
	}
	for _, tt := range []struct {
		name    string
		spam    config.Action
		v       judging.Verdict
		refuse  string
		refused int
		mark    string
		folder  string
	}{
		{"passed", config.Action{Take: true, Folder: "junk"}, judging.Verdict{}, "", 0, "", ""},
		{"refused", config.Action{}, judging.Verdict{Refuse: no}, "it is bad", 0, "", ""},
		{"refused, in other words", config.Action{Why: "not here"}, judging.Verdict{Refuse: no, Refused: two()}, "not here", 2, "", ""},
		{"taken", config.Action{Take: true, Folder: "junk"}, judging.Verdict{Refuse: no, Refused: two()}, "", 0, "it is bad", "junk"},
		{"two recipients", config.Action{Why: "not here"}, judging.Verdict{Refused: two()}, "", 2, "", ""},
		{"two recipients, taken", config.Action{Take: true, Folder: "junk"}, judging.Verdict{Refused: two(), Nobody: true}, "", 0, "not second", "junk"},
	} {
		v := new(system).unwanted(&config.Config{Spam: tt.spam}, tt.v)
		if v.Refuse.Text != tt.refuse || len(v.Refused) != tt.refused || v.Mark != tt.mark || v.Folder != tt.folder || v.Nobody {
			t.Errorf("%s: %+v", tt.name, v)
		}
	}
}

package logins

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"testing"

	"postoffice/applets/smtpd/login"
)

// source answers from a table of first responses, and notes that it was asked, with a
// + where others are asked behind it.
type source struct {
	name    string
	has     []login.Mechanism
	answers map[string]login.Answer
	asked   *[]string
}

func (s source) Mechanisms() []login.Mechanism { return s.has }

func (s source) Begin(c login.Client, mechanism string) login.Exchange {
	return &attempt{source: s, mechanism: mechanism, among: c.Among}
}

type attempt struct {
	source
	mechanism string
	among     bool
}

func (a *attempt) Step(_ context.Context, response []byte) ([]byte, login.Result) {
	mark := map[bool]string{true: "+"}[a.among]
	*a.asked = append(*a.asked, a.name+mark)
	r := login.Result{Answer: a.answers[string(response)]}
	switch r.Answer {
	case login.Yes:
		r.User = string(response) + " of " + a.name + " by " + a.mechanism
	case login.Later:
		r.Err = errors.New("away")
	}
	return []byte("more"), r
}

func (*attempt) Close() {}

func named(names ...string) (all []login.Mechanism) {
	for _, n := range names {
		some := strings.HasSuffix(n, "?")
		all = append(all, login.Mechanism{Name: strings.TrimSuffix(n, "?"), Some: some})
	}
	return all
}

// TestInOrder: who is asked, and what is the answer.
func TestInOrder(t *testing.T) {
	var asked []string
	first := source{"a", named("SCRAM-SHA-256", "PLAIN"), map[string]login.Answer{
		"alice": login.Yes, "bob": login.No, "carol": login.Unknown, "dave": login.Later, "eve": login.Later, "mallory": login.Later, "nobody": login.Unknown, "late": login.No, "odd": login.No,
	}, &asked}
	second := source{"b", named("CRAM-MD5", "PLAIN", "SCRAM-SHA-256", "XOAUTH2"), map[string]login.Answer{
		"alice": login.Yes, "bob": login.No, "carol": login.Yes, "dave": login.No, "eve": login.Yes, "mallory": login.Later, "nobody": login.Unknown, "late": login.Later, "odd": login.Asks,
	}, &asked}
	all := InOrder(first, second)
	for _, tt := range []struct {
		by, say string
		want    login.Answer
		user    string
		refused bool
		asked   string
	}{
		{"PLAIN", "alice", login.Yes, "alice of a by PLAIN", false, "a+"},
		{"PLAIN", "bob", login.No, "", false, "a+ b"}, // a wrong password takes what an unknown name takes
		{"PLAIN", "nobody", login.Unknown, "", false, "a+ b"},
		{"PLAIN", "carol", login.Yes, "carol of b by PLAIN", false, "a+ b"},
		{"PLAIN", "dave", login.Later, "", true, "a+ b"}, // it may be the other's
		{"PLAIN", "late", login.Later, "", true, "a+ b"},
		{"PLAIN", "odd", login.Later, "", true, "a+ b"},
		{"PLAIN", "eve", login.Yes, "eve of b by PLAIN", false, "a+ b"},
		{"PLAIN", "mallory", login.Later, "", false, "a+ b"}, // neither was asked
		{"SCRAM-SHA-256", "carol", login.Unknown, "", false, "a"},
		{"XOAUTH2", "carol", login.Yes, "carol of b by XOAUTH2", false, "b"},
		{"GSSAPI", "carol", login.Later, "", false, ""},
	} {
		asked = nil
		x := all.Begin(login.Client{}, tt.by)
		_, r := x.Step(t.Context(), []byte(tt.say))
		x.Close()
		if r.Answer != tt.want || r.User != tt.user || r.Refused != tt.refused || strings.Join(asked, " ") != tt.asked || (r.Answer == login.Later) != (r.Err != nil) {
			t.Errorf("%s by %s: %+v, asked %v, want %v %q, refused %v, asked %s", tt.say, tt.by, r, asked, tt.want, tt.user, tt.refused, tt.asked)
		}
	}
}

// TestTogether: what several sources can do together: PLAIN for every account where each
// source has it, and by an option what one of them has.
func TestTogether(t *testing.T) {
	for _, tt := range []struct {
		sources [][]login.Mechanism
		want    string
	}{
		{[][]login.Mechanism{named("SCRAM-SHA-256", "PLAIN", "CRAM-MD5?")}, "[{SCRAM-SHA-256 false} {PLAIN false} {CRAM-MD5 true}]"}, // one source alone
		{[][]login.Mechanism{named("SCRAM-SHA-256", "PLAIN"), named("PLAIN", "XOAUTH2")}, "[{SCRAM-SHA-256 true} {PLAIN false} {XOAUTH2 true}]"},
		{[][]login.Mechanism{named("PLAIN"), named("XOAUTH2")}, "[{PLAIN true} {XOAUTH2 true}]"},
		{[][]login.Mechanism{named("PLAIN"), named("PLAIN?")}, "[{PLAIN true}]"},
		{[][]login.Mechanism{nil, nil}, "[]"},
		{nil, "[]"},
	} {
		var all []login.Source
		for _, has := range tt.sources {
			all = append(all, source{has: has})
		}
		if got := fmt.Sprint(InOrder(all...).Mechanisms()); got != tt.want {
			t.Errorf("%v: %s, want %s", tt.sources, got, tt.want)
		}
	}
}

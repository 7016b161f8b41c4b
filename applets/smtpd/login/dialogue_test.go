package login

import (
	"context"
	"encoding/base64"
	"errors"
	"strings"
	"testing"

	"postoffice/internal/smtp"
)

// accounts are a Source with passwords, by PLAIN and by one mechanism in which the
// server speaks first.
type accounts map[string]string

func (accounts) Mechanisms() []Mechanism {
	return []Mechanism{{Name: Plain}, {Name: "CRAM-MD5"}, {Name: "SCRAM-SHA-256", Some: true}}
}

func (a accounts) Begin(_ Client, mechanism string) Exchange {
	return &attempt{accounts: a, mechanism: mechanism}
}

type attempt struct {
	accounts
	mechanism string
	closed    bool
}

func (a *attempt) Step(_ context.Context, response []byte) ([]byte, Result) {
	if a.mechanism == "CRAM-MD5" && response == nil {
		return []byte("<challenge>"), Result{}
	}
	parts := strings.Split(string(response), "\x00")
	if len(parts) != 3 {
		return nil, Result{Answer: No}
	}
	switch want, ok := a.accounts[parts[1]]; {
	case parts[1] == "later":
		return nil, Result{Answer: Later, Err: errors.New("away")}
	case parts[1] == "asks":
		return []byte(parts[2]), Result{}
	case strings.HasPrefix(parts[1], "odd"):
		return nil, Result{Answer: Yes, User: "a" + parts[1][len("odd"):] + "b"}
	case !ok:
		return nil, Result{Answer: Unknown}
	case want != parts[2]:
		return nil, Result{Answer: No}
	}
	return nil, Result{Answer: Yes, User: parts[1]}
}

func (a *attempt) Close() { a.closed = true }

func b64(s string) string { return base64.StdEncoding.EncodeToString([]byte(s)) }

// TestDialogue: what is said for each form of a login. R43: the prompts of LOGIN.
func TestDialogue(t *testing.T) {
	source := accounts{"alice@us.example": "secret", "empty": ""}
	plain := b64("\x00alice@us.example\x00secret")
	odd := func(octets string) string { return "PLAIN " + b64("\x00odd"+octets+"\x00secret") }
	for _, tt := range []struct {
		name  string
		lines []string // AUTH's argument, then what the client answers
		want  []string // the replies, by their beginnings
	}{
		{"plain at once", []string{"PLAIN " + plain}, []string{"235 2.7.0"}},
		{"with two blanks", []string{"PLAIN  " + plain}, []string{"235"}},
		{"login with a name and two blanks", []string{"LOGIN  " + b64("alice@us.example"), b64("secret")}, []string{"334 UGFzc3dvcmQ6", "235"}},
		{"in any case", []string{"plain " + plain}, []string{"235 2.7.0"}},
		{"plain when asked", []string{"PLAIN", plain}, []string{"334", "235"}},
		{"wrong password", []string{"PLAIN " + b64("\x00alice@us.example\x00Secret")}, []string{"535 5.7.8 name or password is wrong"}},
		{"unknown name", []string{"PLAIN " + b64("\x00mallory\x00secret")}, []string{"535 5.7.8 name or password is wrong"}},
		{"no PLAIN at all", []string{"PLAIN " + b64("secret")}, []string{"535"}},
		{"nothing", []string{"PLAIN ="}, []string{"535"}},
		{"login", []string{"LOGIN", b64("alice@us.example"), b64("secret")}, []string{"334 VXNlcm5hbWU6", "334 UGFzc3dvcmQ6", "235"}},
		{"login with a name", []string{"LOGIN " + b64("alice@us.example"), b64("secret")}, []string{"334 UGFzc3dvcmQ6", "235"}},
		{"login with an empty name", []string{"LOGIN =", b64("secret")}, []string{"334 UGFzc3dvcmQ6", "535"}},
		{"login without a password", []string{"LOGIN " + b64("empty"), ""}, []string{"334", "235"}},
		{"NUL in a name", []string{"LOGIN " + b64("alice@us.example\x00secret")}, []string{"501 5.5.2"}},
		{"NUL in a password", []string{"LOGIN " + b64("alice@us.example"), b64("a\x00secret")}, []string{"334", "501 5.5.2"}},
		{"broken off", []string{"LOGIN", "*"}, []string{"334", "501 5.7.0"}},
		{"broken off later", []string{"LOGIN", b64("alice@us.example"), "*"}, []string{"334", "334", "501"}},
		{"the server speaks first", []string{"CRAM-MD5", "*"}, []string{"334 " + b64("<challenge>"), "501"}},
		{"no base64", []string{"PLAIN ?"}, []string{"501 5.5.2"}},
		{"its end is missing", []string{"PLAIN " + strings.TrimRight(plain, "=")[:len(plain)-3]}, []string{"501"}},
		{"other bits behind it", []string{"LOGIN", "YR=="}, []string{"334", "501"}},
		{"a line end in it", []string{"LOGIN", "YWxp\rY2U="}, []string{"334", "501"}},
		{"a blank in it", []string{"PLAIN " + plain[:4] + " " + plain[4:]}, []string{"501"}},
		{"no such mechanism", []string{"GSSAPI"}, []string{"504 5.5.4 no login by that mechanism, take one of PLAIN CRAM-MD5 LOGIN"}},
		{"none", []string{""}, []string{"504"}},
		{"not now", []string{"PLAIN " + b64("\x00later\x00secret")}, []string{"454 4.7.0"}},
		{"a challenge that fills its line", []string{"PLAIN " + b64("\x00asks\x00"+strings.Repeat("x", MaxChallenge)), "*"}, []string{"334 " + b64(strings.Repeat("x", MaxChallenge)), "501"}},
		{"one octet more, as with a nonce without end", []string{"PLAIN " + b64("\x00asks\x00"+strings.Repeat("x", MaxChallenge+1))}, []string{"535"}},
		{"a name that is none", []string{odd("\n")}, []string{"535"}},
		{"a name that is no UTF-8", []string{odd("\xff")}, []string{"535"}},
		{"a name that turns text around", []string{odd("\u202e")}, []string{"535"}},
		{"a name with a control of eight bits", []string{odd("\u009b")}, []string{"535"}},
		{"a name in letters", []string{odd("\u00fc\u4e2d")}, []string{"235"}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			d, r := Begin(t.Context(), Offer{Source: source}, Client{}, tt.lines[0])
			for i, want := range tt.want {
				if i > 0 {
					r = d.Line(t.Context(), []byte(tt.lines[i]))
				}
				if !strings.HasPrefix(r.String(), want) {
					t.Fatalf("reply %d: %v, want %s", i, r, want)
				}
			}
			if strings.HasPrefix(tt.name, "a name that") && d.Result().Err == nil {
				t.Error("nothing says why")
			}
			if ok := d.Result().Answer == Yes; ok != (r.Code == 235) {
				t.Errorf("%v, and the result is %+v", r, d.Result())
			}
			d.Close()
			if x, ok := d.exchange.(*attempt); ok && !x.closed {
				t.Error("the exchange stays open")
			}
			for _, secret := range []string{"secret", b64("secret"), plain} {
				if r.Code != 334 && strings.Contains(r.String(), secret) {
					t.Errorf("%v tells what the client said", r)
				}
			}
		})
	}
}

// TestNames: which mechanisms are offered.
func TestNames(t *testing.T) {
	for _, tt := range []struct {
		only []string
		want string
	}{
		{nil, "PLAIN CRAM-MD5 LOGIN"}, {[]string{Login}, "LOGIN"}, {[]string{"CRAM-MD5", "SCRAM-SHA-256"}, "CRAM-MD5 SCRAM-SHA-256"}, {[]string{}, ""},
	} {
		if got := strings.Join(Offer{Source: accounts{}, Only: tt.only}.Names(), " "); got != tt.want {
			t.Errorf("%q: %q, want %q", tt.only, got, tt.want)
		}
	}
	if _, r := Begin(t.Context(), Offer{Source: accounts{}, Only: []string{Login}}, Client{}, "PLAIN"); r.Code != 504 {
		t.Errorf("what is not offered: %v", r)
	}
}

// FuzzDialogue: whatever a client says, a dialogue ends in one of its replies, tells
// nothing of it, and lets nobody in without the password.
func FuzzDialogue(f *testing.F) {
	f.Add("PLAIN "+b64("\x00a\x00b"), "", "")
	f.Add("LOGIN", b64("a"), b64("b"))
	f.Add("CRAM-MD5", "*", "x")
	f.Fuzz(func(t *testing.T, arg, first, second string) {
		d, r := Begin(t.Context(), Offer{Source: accounts{"a": "b"}}, Client{}, arg)
		for _, line := range []string{first, second} {
			if r.Code != 334 {
				break
			}
			r = d.Line(t.Context(), []byte(line))
		}
		d.Close()
		switch r.Code {
		case 334, 454, 501, 504, 535:
		case 235:
			if d.Result() != (Result{Answer: Yes, User: "a"}) {
				t.Errorf("logged in as %+v", d.Result())
			}
		default:
			t.Errorf("%v", r)
		}
		if b := r.Append(nil); smtp.Printable(strings.TrimSuffix(string(b), "\r\n"), 1000) != strings.TrimSuffix(string(b), "\r\n") {
			t.Errorf("%q", b)
		}
	})
}

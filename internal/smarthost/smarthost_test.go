package smarthost

import (
	"strings"
	"testing"
)

func TestParse(t *testing.T) {
	for _, tt := range []struct{ text, want, place string }{
		{"mx.example", "mx.example", "mx.example"},
		{"mx.example.", "mx.example", "mx.example"},
		{"[mx.example]:26", "[mx.example]:26", "mx.example"},
		{"192.0.2.1", "[192.0.2.1]", "192.0.2.1"},
		{"2001:db8::1", "[2001:db8::1]", "2001:db8::1"},
		{"[IPv6:2001:db8::1]:26", "[2001:db8::1]:26", "2001:db8::1"},
		{"smtp://mx.example", "mx.example", "mx.example"},
		{"smtp://[mx.example]", "[mx.example]", "mx.example"},
		{"SMTP://u@mx.example:25", "smtp://u@mx.example:25", "mx.example"},
		{"submission://mx.example:587", "submission://mx.example", "mx.example"},
		{"submissions://me@example.org@mx.example:465/", "submissions://me@example.org@mx.example", "mx.example"},
		{"submissions://a%40b%3ac%25;AUTH=xoauth2@mx.example:2465", "submissions://a@b%3Ac%25;auth=XOAUTH2@mx.example:2465", "mx.example"},
		{"submission://u@[2001:db8::1]", "submission://u@[2001:db8::1]", "2001:db8::1"},
		{"mx.example:465", "submissions://mx.example", "mx.example"},
		{"[mx.example]:465", "submissions://mx.example", "mx.example"},
		{"smtp://u@mx.example:465", "submissions://u@mx.example", "mx.example"},
		{"submission://u@mx.example:465", "submission://u@mx.example:465", "mx.example"}, // as it is told
		{"mx.example:587", "mx.example:587", "mx.example"},
		{"submissions://\u00fc@b\u00fccher.example", "submissions://%C3%BC@xn--bcher-kva.example", "xn--bcher-kva.example"},
	} {
		h, err := Parse(tt.text)
		if err != nil || h.String() != tt.want || h.Place() != tt.place {
			t.Errorf("%q: %q at %q, %v; want %q at %q", tt.text, h, h.Place(), err, tt.want, tt.place)
		}
		if again, err := Parse(h.String()); err != nil || again != h {
			t.Errorf("%q reads %+v, its text %q reads %+v, %v", tt.text, h, h, again, err)
		}
	}
}

// TestParseRefuses: what is no smarthost is told without a password that may be in it.
func TestParseRefuses(t *testing.T) {
	for text, want := range map[string]string{
		"":                                     "host name",
		"u@mx.example":                         "submissions:// or submission:// before a user",
		"u:geheim@mx.example":                  "submissions:// or submission:// before a user",
		"submissions://u:geheim@mx.example":    "relay-passwords",
		"submissions://@mx.example":            "a user",
		"submissions://a%4@mx.example":         "digits behind %",
		"submissions://a%@mx.example":          "digits behind %",
		"submissions://a%00@mx.example":        "control",
		"submissions://u;x=PLAIN@mx.example":   "auth=",
		"submissions://u;auth=NTLM@mx.example": "auth=",
		"smtps://mx.example":                   "submissions, submission or smtp",
		"submissions://":                       "host name",
		"mx.example:0":                         "port",
		"mx.example:65536":                     "port",
		"mx.example:":                          "port",
		"[mx.example":                          "closing bracket",
		"mx.example]":                          "host name",
		"fe80::1%eth0":                         "",
		"a b":                                  "host name",
		"submissions://" + strings.Repeat("u", maxUser+1) + "@mx.example": "a user",
	} {
		h, err := Parse(text)
		if err == nil || !strings.Contains(err.Error(), want) || strings.Contains(err.Error(), "geheim") {
			t.Errorf("%q: %+v, %v; want %q", text, h, err, want)
		}
	}
}

// TestPorts: the text's, the scheme's, else another.
func TestPorts(t *testing.T) {
	for text, want := range map[string]int{
		"mx.example": 2525, "mx.example:26": 26, "smtp://u@mx.example": 2525, "submission://mx.example": 587,
		"submissions://mx.example": 465, "submissions://mx.example:26": 26, "mx.example:465": 465,
	} {
		h, err := Parse(text)
		if err != nil || h.PortOr(2525) != want {
			t.Errorf("%q: %d, %v; want %d", text, h.PortOr(2525), err, want)
		}
	}
}

func TestDemands(t *testing.T) {
	ca, none := Trust{CAFile: "/ca"}, Trust{None: true}
	for _, tt := range []struct {
		text  string
		trust Trust
		local bool
		want  bool
	}{
		{"mx.example", Trust{}, false, false},
		{"mx.example", ca, false, true},
		{"mx.example", Trust{Fingerprint: [32]byte{1}}, true, true},
		{"mx.example", none, false, false},
		{"submission://mx.example", none, true, true},
		{"submissions://mx.example", Trust{}, true, true},
		{"smtp://u@mx.example", Trust{}, false, true},
		{"smtp://u@mx.example", Trust{}, true, false},
		{"smtp://u@mx.example", none, false, false},
	} {
		h, err := Parse(tt.text)
		if err != nil || h.Demands(tt.trust, tt.local) != tt.want {
			t.Errorf("%q, %+v, local %v: %v, %v", tt.text, tt.trust, tt.local, h.Demands(tt.trust, tt.local), err)
		}
	}
}

func TestParseTrust(t *testing.T) {
	digits := strings.Repeat("0a", 32)
	colons := strings.TrimSuffix(strings.Repeat("0A:", 32), ":")
	for text, want := range map[string]string{
		"": "", "None": "none", "/etc//ca.pem": "/etc/ca.pem",
		"fingerprint:SHA256:" + digits: "fingerprint:SHA256:" + digits, "fingerprint:" + colons: "fingerprint:SHA256:" + digits,
		"Fingerprint:sha256=" + colons: "fingerprint:SHA256:" + digits, "fingerprint:SHA256" + digits: "fingerprint:SHA256:" + digits,
		"ca.pem": "error", "fingerprint:": "error", "fingerprint:SHA256:" + digits[2:]: "error", "fingerprint:SHA256:" + digits[2:] + "xx": "error", "yes": "error",
	} {
		tr, err := ParseTrust(text)
		got := tr.String()
		if err != nil {
			got = "error"
		}
		if got != want {
			t.Errorf("%q: %q, %v; want %q", text, got, err, want)
		}
		if again, err := ParseTrust(tr.String()); err != nil || again != tr {
			t.Errorf("%q: its text %q reads %+v, %v", text, tr, again, err)
		}
	}
}

// FuzzParse: the text of what is read reads as the same, is one word, and could stand in
// postoffice.cf.
func FuzzParse(f *testing.F) {
	f.Add("submissions://me%40example.org;auth=PLAIN@mx.example:2465")
	f.Add("[IPv6:::1]:25")
	f.Fuzz(func(t *testing.T, text string) {
		h, err := Parse(text)
		if err != nil {
			return
		}
		again, err := Parse(h.String())
		if err != nil || again != h || strings.ContainsAny(h.String(), " \t\n#\"") {
			t.Errorf("%q reads %+v, its text %q reads %+v, %v", text, h, h, again, err)
		}
	})
}

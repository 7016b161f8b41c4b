package server

import (
	"strings"
	"testing"

	"postoffice/applets/config"
	"postoffice/applets/smtpd"
	"postoffice/internal/smtp"
)

func TestSenders(t *testing.T) {
	s := newSenders(&config.Config{ServerUser: "postoffice", TrustedUsers: []string{"www-data"}, LocalDomains: []string{"far.example"}}, "us.example")
	for _, tt := range []struct {
		user string
		uid  int
		from string
		own  bool
	}{
		{"joe", 1000, "joe@us.example", true},
		{"joe", 1000, "joe@US.example", true},
		{"joe", 1000, "joe@localhost", true},
		{"joe", 1000, "joe@far.example", true},
		{"joe", 1000, "joe@else.example", false},
		{"joe", 1000, "Joe@us.example", false},
		{"joe", 1000, "amy@us.example", false},
		{"joe", 1000, "", false},
		{"root", 0, "amy@us.example", true},
		{"toor", 0, "", true},
		{"root", 1000, "amy@us.example", false},
		{"postoffice", 990, "amy@us.example", true},
		{"www-data", 33, "shop@else.example", true},
		{"uid-1234", 1234, "uid-1234@us.example", true},
		{"joe", 1000, "uid-1000@us.example", true},
		{"joe", 1000, "uid-1001@us.example", false},
	} {
		from := smtp.Path{}
		if tt.from != "" {
			from.Local, from.Domain, _ = strings.Cut(tt.from, "@")
		}
		if got := s.own(&smtpd.Client{Kind: smtpd.Local, UID: tt.uid, User: tt.user}, from); got != tt.own {
			t.Errorf("%s (uid %d) as <%s>: own %v, want %v", tt.user, tt.uid, tt.from, got, tt.own)
		}
	}
}

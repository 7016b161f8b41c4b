package deliver

import (
	"testing"

	"postoffice/internal/smtp"
)

// A39: whoever is at this machine can take any address of loopback, and any host or
// translator any address of its network: they are one submitter each.
func TestSubmitter(t *testing.T) {
	sender := smtp.Path{Local: "s", Domain: "x.example"}
	for _, tt := range []struct {
		client  string
		reverse smtp.Path
		want    string
	}{
		{"alice[uid 1000]", sender, "uid 1000"},
		{"alice[uid 1000]", smtp.Path{}, "uid 1000"},
		{"localhost[127.0.0.1]:4000", sender, "loopback"},
		{"localhost[127.9.9.9]:4000", sender, "loopback"},
		{"localhost[127.9.9.9]:4000 uid 1000", sender, "uid 1000"},
		{"us.example[192.0.2.10]:4000 uid 1000", smtp.Path{}, "uid 1000"},
		{"localhost[::1]:4000", sender, "loopback"},
		{"x.example[192.0.2.1]:25", sender, "192.0.2.1/32"},
		{"x.example[64:ff9b::c000:201]:25", sender, "192.0.2.1/32"},
		{"x.example[2001:db8:1:2::3]:25", sender, "2001:db8:1:2::/64"},
		{"x.example[192.0.2.1]:25", smtp.Path{}, "null sender"},
		{"the server", sender, "null sender"},
	} {
		if got := Submitter(tt.client, tt.reverse); got != tt.want {
			t.Errorf("%s, <%v>: %q, want %q", tt.client, tt.reverse, got, tt.want)
		}
	}
}

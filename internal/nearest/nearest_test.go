package nearest

import (
	"strings"
	"testing"
)

// What takes few changes is guessed, and nothing else.
func TestName(t *testing.T) {
	names := []string{"qreturn", "queue-dir", "smtpd", "all"}
	for word, want := range map[string]string{
		"qretrun": "qreturn", "QReturn": "qreturn", "queuedir": "queue-dir", "smptd": "smtpd", "stmpd": "smtpd", "al": "all", "alll": "all",
		"": "", "sshd": "", "x": "", strings.Repeat("q", 1000): "",
	} {
		if got := Name(word, names); got != want {
			t.Errorf("%.20q: %q, want %q", word, got, want)
		}
	}
	for most, want := range []string{"", "", "smtpd"} {
		if got := Within(most, "vsftpd", names); got != want {
			t.Errorf("vsftpd within %d: %q, want %q", most, got, want)
		}
	}
}

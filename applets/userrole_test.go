package applets

import (
	"strings"
	"testing"

	"postoffice/internal/config"
	"postoffice/internal/privsep"
	"postoffice/internal/sysexits"
)

// TestDefaultUser: a server doesn't start with a default-user that is not there
// or is root by another name, and says what to do.
func TestDefaultUser(t *testing.T) {
	for _, tt := range []struct{ name, want string }{
		{"nobody", ""},
		{"Nobody", ""},
		{"nobody-here", `there is no account "nobody-here"`},
		{"root", "has uid 0"},
	} {
		o, err := userOptions(t.Context(), &config.Config{DefaultUser: tt.name})
		if tt.want == "" {
			if err != nil || o.DefaultUser != "nobody" {
				t.Errorf("%s: %q, %v, want nobody", tt.name, o.DefaultUser, err)
			}
			continue
		}
		if err == nil || !strings.Contains(err.Error(), tt.want) || exitStatus(err) != sysexits.Config {
			t.Errorf("%s: %v, exit code %d, want %q, %d", tt.name, err, exitStatus(err), tt.want, sysexits.Config)
		}
	}
}

// TestRoles: a role is known by the whole of argv[0], a user's process by how it
// begins.
func TestRoles(t *testing.T) {
	for argv0, want := range map[string]string{
		privsep.ServerRole: privsep.ServerRole, privsep.UserRole + "alice": privsep.UserRole, privsep.ServerRole + " x": "", "postoffice: user": "", "postoffice": "",
	} {
		got := ""
		for _, r := range roles() {
			if r.is(argv0) {
				got = r.argv0
			}
		}
		if got != want {
			t.Errorf("%q is %q, want %q", argv0, got, want)
		}
	}
}

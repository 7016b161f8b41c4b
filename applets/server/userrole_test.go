package server

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"postoffice/applets/cmdline"
	"postoffice/applets/config"
	"postoffice/applets/sysexits"
)

// TestDefaultUser: a server doesn't start with a default-user that is not there
// or is root by another name, and says what to do.
func TestDefaultUser(t *testing.T) {
	for _, tt := range []struct{ name, want string }{
		{"nobody", ""},
		{"Nobody", ""},
		{"auto", ""},
		{"nobody-here", `there is no account "nobody-here"`},
		{"root", "has uid 0"},
	} {
		conf := &config.Config{DefaultUser: tt.name}
		o, err := userOptions(t.Context(), conf)
		if tt.want == "" {
			if err != nil || o.DefaultUser != "nobody" || conf.DefaultUser != "nobody" {
				t.Errorf("%s: %q and %q, %v, want nobody", tt.name, o.DefaultUser, conf.DefaultUser, err)
			}
			continue
		}
		if err == nil || !strings.Contains(err.Error(), tt.want) || cmdline.ExitStatus(err) != sysexits.Config {
			t.Errorf("%s: %v, exit code %d, want %q, %d", tt.name, err, cmdline.ExitStatus(err), tt.want, sysexits.Config)
		}
	}
}

// TestExposed: of the values of fs.suid_dumpable, proc_sys_fs(5), 1 alone lets
// users trace what runs with others' rights.
func TestExposed(t *testing.T) {
	file := filepath.Join(t.TempDir(), "suid_dumpable")
	for text, want := range map[string]string{"0\n": "", "2\n": "", "1\n": "fs.suid_dumpable is 1"} {
		if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		if got := exposedBy(file); got == "" != (want == "") || !strings.HasPrefix(got, want) {
			t.Errorf("%q: %q, want %q", text, got, want)
		}
	}
	if got := exposedBy(file + "none"); got != "" {
		t.Errorf("%q where it isn't known", got)
	}
}

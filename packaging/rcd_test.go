package packaging

import (
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
)

// subr is of rc.subr(8) what the script uses.
const subr = `uname() { echo "$system"; }
load_rc_config() { eval "$conf"; }
run_rc_command() {
	eval "value=\$$rcvar"
	case $value in
	YES) $start_cmd ;;
	*) echo "$rcvar is $value" ;;
	esac
}
`

// TestRCD: each BSD has a variable of its own that starts the server.
func TestRCD(t *testing.T) {
	file := filepath.Join(t.TempDir(), "rc.subr")
	if err := os.WriteFile(file, []byte(subr), 0o644); err != nil {
		t.Fatal(err)
	}
	script := strings.NewReplacer("/etc/rc.subr", file, "/usr/sbin/postoffice", "echo").Replace(RCD)
	for _, tt := range []struct{ system, conf, want string }{
		{"FreeBSD", "postoffice_enable=YES", "smtpd"},
		{"DragonFly", "postoffice_enable=YES", "smtpd"},
		{"FreeBSD", "", "postoffice_enable is NO"},
		{"NetBSD", "postoffice=YES", "smtpd"},
		{"NetBSD", "", "postoffice is NO"},
	} {
		cmd := exec.Command("sh", "-euc", script, "sh", "start")
		cmd.Env = append(os.Environ(), "system="+tt.system, "conf="+tt.conf)
		if out, err := cmd.CombinedOutput(); err != nil || strings.TrimSpace(string(out)) != tt.want {
			t.Errorf("%s with %q: %q, %v, want %q", tt.system, tt.conf, out, err, tt.want)
		}
	}
}

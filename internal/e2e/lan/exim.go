//go:build e2e

package lan

import (
	"context"
	"os"
	"path/filepath"
	"strings"
)

// Exim starts an unpacked Exim on the host, on port 25 of its address, that
// serves the host's own name; settings are further lines of the main section.
//
// It runs without privileges once it listens, so the mailboxes belong to its
// own account, and its long lines are let through: both ways of Exim's own to
// be set, everything else is as it comes.
func (h *Host) Exim(settings ...string) *Process {
	h.T.Helper()
	root, libs := UnpackAll(h.T, "exim4-daemon-heavy")
	for _, dir := range []string{"spool", "log", "mail"} {
		if err := os.MkdirAll(h.Path("ex", dir), 0o755); err != nil {
			h.T.Fatal(err)
		}
		os.Chown(h.Path("ex", dir), 904, 904)
	}
	program := h.Path("ex", "exim") // a copy without the set-id bit, so that it keeps LD_LIBRARY_PATH
	Sh(h.T, "cp", filepath.Join(root, "usr/sbin/exim4"), program)
	os.Chmod(program, 0o755)
	conf := h.Path("ex", "exim.conf")
	WriteFile(h.T, conf, strings.NewReplacer("@DIR@", h.Path("ex"), "@NAME@", h.Name, "@IP@", h.IP,
		"@MORE@", strings.Join(settings, "\n")).Replace(eximConf))
	p := h.Start(h.Command(context.Background(), "env", "LD_LIBRARY_PATH="+libs, program, "-C", conf, "-bdf", "-q1m"))
	h.T.Cleanup(func() {
		if h.T.Failed() {
			log, _ := os.ReadFile(h.Path("ex", "log", "mainlog"))
			h.T.Logf("%s: exim log:\n%s", h.Name, Tail(string(log), 40))
		}
	})
	h.Listening("25")
	return p
}

const eximConf = `
exim_path = @DIR@/exim
spool_directory = @DIR@/spool
log_file_path = @DIR@/log/%slog
pid_file_path = @DIR@/pid
primary_hostname = @NAME@
local_interfaces = @IP@
exim_user = exim
exim_group = exim
deliver_drop_privilege
never_users =
keep_environment = LD_LIBRARY_PATH
rfc1413_query_timeout = 0s
host_lookup =
message_size_limit = 100M
header_maxsize = 8M
smtp_accept_max = 100
smtp_accept_queue_per_connection = 0
acl_smtp_rcpt = accept
acl_smtp_data = accept
@MORE@
begin routers
mailbox:
  driver = accept
  domains = @NAME@
  check_local_user
  transport = mailbox
remote:
  driver = dnslookup
  domains = ! @NAME@
  transport = remote
begin transports
mailbox:
  driver = appendfile
  file = @DIR@/mail/$local_part_data
  user = exim
  group = exim
  mode = 0600
  home_directory = /
  current_directory = /
remote:
  driver = smtp
  message_linelength_limit = 1000000000
begin retry
* * F,1h,1m
`

// EximUsers are the accounts that Exim looks for by their compiled-in names.
var EximUsers = []User{{"Debian-exim", 904, 904}}

//go:build e2e

package lan

import (
	"context"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
)

// jailed finds the chroot column of the services that Debian runs in a jail.
var jailed = regexp.MustCompile(`(?m)^(([^ #\n]+ +[a-z-]+ +[-ny] +[-ny] +))y( )`)

// Postfix starts an unpacked Postfix on the host, on port 25 of its address,
// that serves the host's own name; settings are further lines of main.cf, "!NAME" leaves
// the service NAME out of master.cf, and "+LINE" is one more line there.
func (h *Host) Postfix(settings ...string) *Process {
	h.T.Helper()
	root := Unpack(h.T, "postfix")
	lib := filepath.Join(root, "usr/lib/postfix")

	etc, spool := h.Path("pf", "etc"), h.Path("pf", "spool")
	h.postfixDirectories(etc, spool)
	main := append([]string{
		"compatibility_level=3.6",
		"command_directory=" + root + "/usr/sbin",
		"daemon_directory=" + lib + "/sbin",
		"shlib_directory=no",
		"meta_directory=" + etc,
		"queue_directory=" + spool,
		"data_directory=" + h.Path("pf", "lib"),
		"mail_owner=postfix", "setgid_group=postdrop",
		"myhostname=" + h.Name, "mydestination=" + h.Name,
		"inet_interfaces=" + h.IP, "inet_protocols=ipv4",
		"mynetworks=127.0.0.0/8 " + h.IP,
		"alias_maps=", "alias_database=",
		"maillog_file=" + h.Path("pf", "log"), "maillog_file_prefixes=/tmp,/var",
		"smtpd_client_connection_count_limit=0",
		"mail_spool_directory=" + h.Path("pf", "mail"),
		"biff=no",
		"import_environment=MAIL_CONFIG TZ LANG=C LD_LIBRARY_PATH=" + lib,
	}, settings...)
	h.postfixFiles(root, etc, main)
	p := h.Start(h.Command(context.Background(), "env", "LD_LIBRARY_PATH="+lib, lib+"/sbin/master", "-c", etc, "-d"))
	h.T.Cleanup(func() {
		if h.T.Failed() {
			log, _ := os.ReadFile(h.Path("pf", "log"))
			h.T.Logf("%s: postfix log:\n%s", h.Name, Tail(string(log), 40))
		}
	})
	h.Listening("25")
	return p
}

// postfixDirectories makes Postfix's directories with the owners and modes that
// it wants.
func (h *Host) postfixDirectories(etc, spool string) {
	h.T.Helper()
	owned := func(dir string, uid, gid int, mode os.FileMode) {
		if err := os.MkdirAll(dir, mode); err != nil {
			h.T.Fatal(err)
		}
		os.Chown(dir, uid, gid)
		os.Chmod(dir, mode)
	}
	owned(etc, 0, 0, 0o755)
	owned(filepath.Join(etc, "postfix-files.d"), 0, 0, 0o755)
	owned(filepath.Join(etc, "dynamicmaps.cf.d"), 0, 0, 0o755)
	owned(spool, 0, 0, 0o755)
	owned(filepath.Join(spool, "pid"), 0, 0, 0o755)
	owned(h.Path("pf", "lib"), 902, 902, 0o755)
	owned(h.Path("pf", "mail"), 0, 8, 0o2775|os.ModeSetgid)
	for _, d := range []string{"active", "bounce", "corrupt", "defer", "deferred", "flush", "hold", "incoming", "private", "saved", "trace"} {
		owned(filepath.Join(spool, d), 902, 902, 0o700)
	}
	owned(filepath.Join(spool, "public"), 902, 903, 0o710)
	owned(filepath.Join(spool, "maildrop"), 902, 903, 0o730)
}

// postfixFiles writes the configuration: the lines of main.cf, and master.cf as it
// comes, without jails and the services that "!NAME" leaves out, and with those of "+LINE".
func (h *Host) postfixFiles(root, etc string, main []string) {
	h.T.Helper()
	var services, more []string
	for _, line := range main {
		if name, ok := strings.CutPrefix(line, "!"); ok {
			services = append(services, name)
		}
		if service, ok := strings.CutPrefix(line, "+"); ok {
			more = append(more, service)
		}
	}
	main = slices.DeleteFunc(main, func(line string) bool { return line[0] == '!' || line[0] == '+' })
	WriteFile(h.T, filepath.Join(etc, "main.cf"), strings.Join(lastOf(main), "\n")+"\n")
	dist, err := os.ReadFile(filepath.Join(root, "usr/share/postfix/master.cf.dist"))
	if err != nil {
		h.T.Fatal(err)
	}
	table := jailed.ReplaceAllString(string(dist), "${1}n${3}")
	for _, name := range services {
		table = regexp.MustCompile(`(?m)^`+name+` .*$`).ReplaceAllString(table, "")
	}
	WriteFile(h.T, filepath.Join(etc, "master.cf"), table+strings.Join(append(more, ""), "\n"))
	for _, f := range []string{root + "/usr/share/postfix/dynamicmaps.cf", root + "/etc/postfix/postfix-files"} {
		b, err := os.ReadFile(f)
		if err != nil {
			h.T.Fatal(err)
		}
		WriteFile(h.T, filepath.Join(etc, filepath.Base(f)), string(b))
	}
}

// lastOf leaves out settings that a later line has too. Each program of Postfix would warn of
// one, postlogd among them: by its own socket, which holds ten lines and which it doesn't
// read yet, so that it waits for itself and all others for it.
func lastOf(settings []string) []string {
	at := map[string]int{}
	for i, line := range settings {
		name, _, _ := strings.Cut(line, "=")
		at[strings.TrimSpace(name)] = i
	}
	var last []string
	for i, line := range settings {
		if name, _, _ := strings.Cut(line, "="); at[strings.TrimSpace(name)] == i {
			last = append(last, line)
		}
	}
	return last
}

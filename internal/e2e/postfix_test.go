//go:build e2e

package e2e

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

// postfix starts an unpacked Postfix on the host, on port 25 of its address,
// that serves the host's own name; settings are further lines of main.cf, and
// "!NAME" leaves the service NAME out of master.cf.
func (h *host) postfix(settings ...string) *process {
	h.t.Helper()
	root := unpack(h.t, "postfix")
	lib := filepath.Join(root, "usr/lib/postfix")
	writeFile(h.t, "/etc/ld.so.conf.d/postoffice-peers.conf", lib+"\n")
	sh(h.t, "ldconfig")

	etc, spool := h.path("pf", "etc"), h.path("pf", "spool")
	owned := func(dir string, uid, gid int, mode os.FileMode) {
		if err := os.MkdirAll(dir, mode); err != nil {
			h.t.Fatal(err)
		}
		os.Chown(dir, uid, gid)
		os.Chmod(dir, mode)
	}
	owned(etc, 0, 0, 0o755)
	owned(filepath.Join(etc, "postfix-files.d"), 0, 0, 0o755)
	owned(filepath.Join(etc, "dynamicmaps.cf.d"), 0, 0, 0o755)
	owned(spool, 0, 0, 0o755)
	owned(filepath.Join(spool, "pid"), 0, 0, 0o755)
	owned(h.path("pf", "lib"), 902, 902, 0o755)
	owned(h.path("pf", "mail"), 0, 8, 0o2775|os.ModeSetgid)
	for _, d := range []string{"active", "bounce", "corrupt", "defer", "deferred", "flush", "hold", "incoming", "private", "saved", "trace"} {
		owned(filepath.Join(spool, d), 902, 902, 0o700)
	}
	owned(filepath.Join(spool, "public"), 902, 903, 0o710)
	owned(filepath.Join(spool, "maildrop"), 902, 903, 0o730)

	main := append([]string{
		"compatibility_level=3.6",
		"command_directory=" + root + "/usr/sbin",
		"daemon_directory=" + lib + "/sbin",
		"shlib_directory=no",
		"meta_directory=" + etc,
		"queue_directory=" + spool,
		"data_directory=" + h.path("pf", "lib"),
		"mail_owner=postfix", "setgid_group=postdrop",
		"myhostname=" + h.Name, "mydestination=" + h.Name,
		"inet_interfaces=" + h.IP, "inet_protocols=ipv4",
		"mynetworks=127.0.0.0/8 " + h.IP,
		"alias_maps=", "alias_database=",
		"maillog_file=" + h.path("pf", "log"), "maillog_file_prefixes=/tmp,/var",
		"smtpd_client_connection_count_limit=0",
		"mail_spool_directory=" + h.path("pf", "mail"),
		"biff=no",
	}, settings...)
	var services []string
	for _, line := range main {
		if name, ok := strings.CutPrefix(line, "!"); ok {
			services = append(services, name)
		}
	}
	main = slices.DeleteFunc(main, func(line string) bool { return line[0] == '!' })
	writeFile(h.t, filepath.Join(etc, "main.cf"), strings.Join(main, "\n")+"\n")
	dist, err := os.ReadFile(filepath.Join(root, "usr/share/postfix/master.cf.dist"))
	if err != nil {
		h.t.Fatal(err)
	}
	table := jailed.ReplaceAllString(string(dist), "${1}n${3}")
	for _, name := range services {
		table = regexp.MustCompile(`(?m)^`+name+` .*$`).ReplaceAllString(table, "")
	}
	writeFile(h.t, filepath.Join(etc, "master.cf"), table)
	for _, f := range []string{root + "/usr/share/postfix/dynamicmaps.cf", root + "/etc/postfix/postfix-files"} {
		b, err := os.ReadFile(f)
		if err != nil {
			h.t.Fatal(err)
		}
		writeFile(h.t, filepath.Join(etc, filepath.Base(f)), string(b))
	}
	p := h.start(h.command(context.Background(), lib+"/sbin/master", "-c", etc, "-d"))
	h.t.Cleanup(func() {
		if h.t.Failed() {
			log, _ := os.ReadFile(h.path("pf", "log"))
			h.t.Logf("%s: postfix log:\n%s", h.Name, tail(string(log), 40))
		}
	})
	h.listening("25")
	return p
}

//go:build e2e

package programs

import (
	"fmt"
	"hash/crc32"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"syscall"
	"testing"

	"postoffice/internal/e2e/lan"
)

// programPackages are the Debian packages whose programs send mail here, or
// deliver it.
var programPackages = []string{"bsd-mailx", "s-nail", "mutt", "git-email", "libmailtools-perl", "cron", "at", "php-cli", "libmail-sendmail-perl",
	"libemail-sender-perl", "python3", "logwatch", "logcheck", "mdadm", "smartmontools", "reportbug", "mlmmj", "vacation", "anacron", "sudo",
	"procmail", "maildrop", "dovecot-lmtpd", "dovecot-imapd", "dovecot-pop3d", "dovecot-submissiond", "curl", "msmtp", "gsasl"}

// notUnpacked are packages that those would bring along and that have no part
// in this: mail servers, and what starts the machine.
var notUnpacked = regexp.MustCompile(`^(exim4-.*|postfix|systemd.*|libsystemd.*|udev|libudev1|lib(pam|nss)-systemd)$`)

// programTree unpacks the packages, and what they need and the machine lacks,
// into one tree that can lie over the machine's. Nothing is installed.
func programTree(t *testing.T) string {
	t.Helper()
	sum := crc32.ChecksumIEEE([]byte(strings.Join(programPackages, " ")))
	base, done := lan.Peers(t)
	defer done()
	tree := filepath.Join(base, fmt.Sprintf("programs-%08x", sum))
	if _, err := os.Stat(tree); err == nil {
		return tree
	}
	out, err := exec.Command("apt-get", append([]string{"-s", "-q", "--no-install-recommends", "install"}, programPackages...)...).Output()
	if err != nil {
		t.Fatalf("what do %v need: %v (is the package index there? run apt-get update)", programPackages, err)
	}
	var all []string
	for line := range strings.Lines(string(out)) {
		words := strings.Fields(line)
		if len(words) > 1 && words[0] == "Inst" && !notUnpacked.MatchString(words[1]) {
			all = append(all, words[1])
		}
	}
	tmp, err := os.MkdirTemp(base, ".deb-")
	if err != nil {
		t.Fatal(err)
	}
	defer os.RemoveAll(tmp)
	if len(all) > 0 {
		get := exec.Command("apt-get", append([]string{"-q", "-o", "APT::Sandbox::User=root", "download"}, all...)...)
		get.Dir = tmp
		if out, err := get.CombinedOutput(); err != nil {
			t.Fatalf("download %v: %v (is the package index there? run apt-get update)\n%s", all, err, out)
		}
	}
	lan.Sh(t, "sh", "-euc", `
		cd "$1"
		mkdir -p tree/usr
		for dir in bin sbin lib lib64; do # as on a merged /usr
			mkdir tree/usr/$dir
			ln -s usr/$dir tree/$dir
		done
		for deb in *.deb; do
			[ -e "$deb" ] || continue
			dpkg-deb --fsys-tarfile "$deb" | tar -x --keep-directory-symlink -C tree
		done
		# What the packages' scripts would have linked.
		ln -sf bsd-mailx tree/usr/bin/mail
		ln -sf bsd-mailx tree/usr/bin/mailx
		chmod 755 tree
		mv tree "$2"`, "sh", tmp, tree)
	return tree
}

// ownRoot gives the host a root file system of its own: the machine's, over it
// the tree of packages, over it our binary at the place of /usr/sbin/sendmail
// with the site's configuration as /etc/postoffice.cf, and over it what is
// written there, which is memory, with some files to begin with. It goes with
// the test; the machine's own files stay as they are.
func ownRoot(s *lan.Site, files map[string]string) {
	t := s.T
	t.Helper()
	layTop(s, files)
	holder := exec.Command("sh", "-euc", `
		mount --make-rprivate /
		cd "$1"
		mkdir memory
		mount -t tmpfs -o mode=755 none memory
		mkdir memory/work memory/root
		cp -a "$2" memory/top
		cp -a top/. memory/top
		mount -t overlay -o "lowerdir=/,upperdir=memory/top,workdir=memory/work" none memory/root
		cd memory/root
		for dir in dev proc sys; do mount --rbind /$dir $dir; done
		for dir in run tmp; do mount -t tmpfs -o mode=1777 none $dir; done
		for dir in "$1" "$4"; do
			mkdir -p ".$dir"
			mount --bind "$dir" ".$dir"
		done
		hostname "$3"
		pivot_root . mnt
		umount -l /mnt
		cd /
		echo ready
		exec cat`, "sh", s.Dir, programTree(t), s.Name, filepath.Dir(lan.Binary))
	holder.SysProcAttr = &syscall.SysProcAttr{Cloneflags: syscall.CLONE_NEWNS | syscall.CLONE_NEWUTS}
	s.Enter = []string{"nsenter", "--net=/run/netns/" + s.Namespace, "--target", strconv.Itoa(lan.Hold(t, holder)),
		"--mount", "--uts", "--root", "--wd", "--", "env", "-i", "PATH=/usr/sbin:/usr/bin:/sbin:/bin", "LC_ALL=C.UTF-8"}
}

// layTop makes the directory top, which lies over everything else.
func layTop(s *lan.Site, files map[string]string) {
	t := s.T
	t.Helper()
	top := s.Path("top")
	for name, text := range files {
		lan.WriteFile(t, filepath.Join(top, name), text)
	}
	lan.WriteFile(t, filepath.Join(top, "etc/mailname"), s.Name+"\n")
	lan.WriteFile(t, filepath.Join(top, "etc/shadow"), shadow(s.Path("etc", "passwd")))
	lan.Sh(t, "sh", "-euc", `
		cd "$4"
		for file in passwd group hosts resolv.conf nsswitch.conf; do cp "$1/$file" etc/; done
		cp "$2" etc/postoffice.cf
		mkdir -p usr/sbin usr/lib usr/bin
		cp "$3" usr/sbin/postoffice
		for name in sendmail runq smtpd newaliases; do ln -s postoffice usr/sbin/$name; done
		ln -s ../sbin/postoffice usr/bin/mailq
		ln -s ../sbin/sendmail usr/lib/sendmail`, "sh", s.Path("etc"), s.Config, lan.Binary, top)
}

// shadow is a shadow file for a passwd file's accounts: nobody has a password,
// and none has expired, as PAM wants to hear before a user's cron job runs.
func shadow(passwd string) string {
	text, _ := os.ReadFile(passwd)
	var b strings.Builder
	for line := range strings.Lines(string(text)) {
		name, _, _ := strings.Cut(line, ":")
		io.WriteString(&b, name+":*:19000:0:99999:7:::\n")
	}
	return b.String()
}

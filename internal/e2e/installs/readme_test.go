//go:build e2e

package installs

import (
	"flag"
	"os"
	"os/exec"
	"strings"
	"testing"

	"postoffice/internal/testenv/roots"
)

var whole = flag.Bool("whole", false, "TestReadme also builds, and installs by both of README's ways: ten minutes and more: -timeout 30m")

// readme is what README has people type up to a server that runs: the packages that are
// needed first, and the commands of each of the two ways.
func readme(t *testing.T) (packages, source, packaged []string) {
	t.Helper()
	text, err := os.ReadFile("../../../README.md")
	if err != nil {
		t.Fatal(err)
	}
	_, text2, _ := strings.Cut(string(text), "\n## Try it\n")
	part, _, ok := strings.Cut(text2, "\n## Set it up\n")
	var commands []string
	for line := range strings.Lines(part) {
		if command, ok := strings.CutPrefix(line, "    "); ok {
			commands = append(commands, strings.TrimSpace(command))
		}
	}
	if !ok || len(commands) != 5 {
		t.Fatalf("README has %d commands, want 5: %q", len(commands), commands)
	}
	first, found := strings.CutPrefix(commands[0], "sudo apt-get install ")
	source = strings.Split(commands[4], " && ")
	if !found || commands[1] != "make demo" || len(source) != 2 {
		t.Fatalf("README has other commands: %q", commands)
	}
	return strings.Fields(first), source, commands[2:4]
}

// alice is a piece of a script: an ordinary user with sudo does something in the tree.
const alice = `alice() { su alice -c "set -eu; cd; cd postoffice; $1"; }
`

// TestReadme does on a Debian what README says, as an ordinary user with sudo: where the
// packages are that README names, make has a Go that can build it, and says what to do where
// it can't have one.
func TestReadme(t *testing.T) {
	packages, source, packaged := readme(t)
	r := roots.Debian(t, append(packages, "ca-certificates", "sudo")...) // certificates are what apt-get brings with git
	copyTree(t, r)
	said, err := r.Online(t, alice+`
useradd -m alice; chown -R alice: /home/alice
echo 'alice ALL=(ALL) NOPASSWD: ALL' >/etc/sudoers.d/alice
alice 'make help clean'
if alice 'make install'; then exit 1; fi
if alice 'make uninstall'; then exit 1; fi
[ ! -e /home/alice/go ]
alice 'make go'
echo; echo again:
alice 'make go; $(sh testdata/tools/go.sh find) version'`)
	if err != nil || !strings.Contains(said, "70 MB") || !strings.Contains(said, "\nagain:\ngo version go"+needed(t)+" ") {
		t.Fatalf("%v\n%s", err, said)
	}
	for _, want := range []string{"run make first", "nothing is installed below /usr/local"} {
		if !strings.Contains(said, want) {
			t.Errorf("before make nothing said %q:\n%s", want, said)
		}
	}
	withoutGo(t, r)
	if !*whole {
		return
	}
	pages := startPage(t)
	for _, build := range []string{source[0], packaged[0]} {
		if said, err := r.Online(t, alice+"alice '"+build+"'"); err != nil {
			t.Fatalf("%v\n%s", err, said)
		}
	}
	for _, way := range []struct{ install, runs, remove string }{
		{strings.Replace(packaged[1], "apt-get", "DEBIAN_FRONTEND=noninteractive apt-get -q -y", 1), "postoffice runs, and delivers mail", "sudo apt-get -q -y purge postoffice"},
		{source[1], "postoffice runs, and takes mail of this machine", "sudo make uninstall"},
	} {
		said := r.Run(t, alice+arrived+`
printf '#!/bin/sh\n' >/usr/sbin/policy-rc.d; chmod 755 /usr/sbin/policy-rc.d # services may start: there is no init to say so
hostname host.example; echo host.example >/etc/mailname; rm -f /etc/aliases /tmp/smart /tmp/listens /var/mail/*
alice '`+way.install+`'
`+strings.Join(pages, "\n")+`
alice '`+way.remove+`'
[ ! -e /usr/sbin/sendmail ]`)
		if !strings.Contains(said, way.runs) || !strings.Contains(said, "relay-host") || !strings.Contains(said, "root's mail") {
			t.Errorf("%s did not say that it runs, or what to set:\n%s", way.install, said)
		}
	}
}

// withoutGo has make fail for want of a Go, and holds that it says what to do.
func withoutGo(t *testing.T, r roots.Root) {
	t.Helper()
	const kept = "export GONOSUMDB=golang.org/toolchain GOPROXY=file:///home/alice/go/pkg/mod/cache/download GOMODCACHE=/mnt/c;"
	for _, tt := range []struct{ name, before, env, want string }{
		{"no network", "", "export GOMODCACHE=/tmp/c;", "where that can't be reached, install Go " + needed(t)},
		{"no room", "mount -t tmpfs -o size=100m,mode=777 none /mnt", kept, "make room there"},
		{"a cache that can't be written", "mount -t tmpfs -o ro none /mnt", kept, "GOMODCACHE=/DIRECTORY make"},
		{"a cache of somebody else's", "mkdir -m 755 /mnt/c", kept, "GOMODCACHE=/DIRECTORY make"},
		{"programs can't run there", "mount -t tmpfs -o noexec,mode=777 none /mnt", kept, "noexec?"},
		{"it is forbidden", "", "export GOTOOLCHAIN=local;", "GO and GOTOOLCHAIN are not"},
		{"no Go", "mv /usr/lib/go-* /opt", "", "and here is none\nhint: install your system's, on Debian by: sudo apt-get install golang-go"},
	} {
		said, err := r.Try(t, alice+tt.before+"\nalice '"+tt.env+" make go'")
		if err == nil || !strings.Contains(said, "\nhint: ") || !strings.Contains(said, tt.want) {
			t.Errorf("%s: %v, want %q\n%s", tt.name, err, tt.want, said)
		}
	}
	r.Run(t, "mv /opt/go-* /usr/lib")
}

// needed is the Go that go.mod names.
func needed(t *testing.T) string {
	t.Helper()
	text, err := os.ReadFile("../../../go.mod")
	if err != nil {
		t.Fatal(err)
	}
	_, rest, _ := strings.Cut(string(text), "\ngo ")
	version, _, _ := strings.Cut(rest, "\n")
	return version
}

// copyTree puts this tree, as it is, where alice has it.
func copyTree(t *testing.T, r roots.Root) {
	t.Helper()
	cmd := exec.Command("sh", "-euc", `mkdir -p "$1"; git ls-files -z --cached --others --exclude-standard | tar -c --null -T - | tar -x -C "$1"`, "sh", r.Path("home/alice/postoffice"))
	cmd.Dir = "../../.."
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
}

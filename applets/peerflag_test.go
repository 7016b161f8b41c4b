//go:build peerflag

package applets

import (
	"bytes"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"postoffice/internal/testenv"
)

// TestPeerFlag: -R gives the client of -bs an address, and only one of this
// machine's own lets it relay.
func TestPeerFlag(t *testing.T) {
	testenv.NeedsRoot(t, "makes a network namespace")
	dir := inetdDir(t)
	for address, want := range map[string]string{
		"192.0.2.7": `(?s)^220 .*250-us\.example greets \[192\.0\.2\.7\]\r\n.*250 2\.1\.0 .*550 5\.7\.1 .*221 `,
		"127.0.0.3": `(?s)^220 .*250-us\.example greets .*250 2\.1\.0 .*250 2\.1\.5 .*221 `,
	} {
		cmd := exec.Command("/proc/self/exe", "-bs", "-R", address, "-C", filepath.Join(dir, "cf"), "-oserver-user=nobody", "-overify-from=no", "-odns-server=127.0.0.1:1", "-oqueue-dir="+filepath.Join(dir, "rq"))
		cmd.Args[0], cmd.Dir = "postoffice", "/"
		cmd.Stdin = strings.NewReader("EHLO x\r\nMAIL FROM:<amy@far.example>\r\nRCPT TO:<bob@[192.0.2.99]>\r\nQUIT\r\n")
		var out, said bytes.Buffer
		cmd.Stdout, cmd.Stderr = &out, &said
		if err := cmd.Run(); err != nil || !regexp.MustCompile(want).MatchString(out.String()) {
			t.Errorf("%s: %v\n%s\nwant %s\n%s", address, err, &out, want, &said)
		}
	}
}

package preflight

import (
	"fmt"
	"net"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"

	"postoffice/applets/service"
)

// A port that is free, another program's, and our server's; an address that isn't ours.
func TestPorts(t *testing.T) {
	l, err := net.Listen("tcp4", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	taken := l.Addr().String()
	_, port, _ := net.SplitHostPort(taken)
	dir := filepath.Join(t.TempDir(), "run")
	for _, tt := range []struct{ address, says string }{
		{taken, "listen on " + taken + ": listen tcp4 " + taken + ": bind: address already in use|has port " + port + ", process " + strconv.Itoa(os.Getpid()) + "|ss -ltnp"},
		{":" + port, "listen on 0.0.0.0:" + port},
		{"127.0.0.2:" + port, ""},
		{"[::1]:" + port, ""},
		{"192.0.2.99:2525", "can't assign requested address|no interface has that address"},
		{"no.such.invalid:25", "must be in /etc/hosts"},
	} {
		all := Ports(t.Context(), []string{tt.address}, dir)
		said := ""
		for _, f := range all {
			said += fmt.Sprint(f.Err, "; ", f.Hint(), "\n")
		}
		if (len(all) == 0) != (tt.says == "") {
			t.Errorf("%s: said %q, want %q", tt.address, said, tt.says)
		}
		for part := range strings.SplitSeq(tt.says, "|") {
			if !strings.Contains(said, strings.Replace(part, "can't assign requested", "cannot assign requested", 1)) {
				t.Errorf("%s: said %q, want %q", tt.address, said, part)
			}
		}
	}
	run, err := service.LockRunDir(dir, -1)
	if err != nil {
		t.Fatal(err)
	}
	defer run.Close()
	if err := run.WritePID(); err != nil {
		t.Fatal(err)
	}
	if all := Ports(t.Context(), []string{taken}, dir); len(all) > 0 {
		t.Errorf("our server's own port: %v", all[0].Err)
	}
	l.Close()
	if l, err = net.Listen("tcp4", taken); err != nil { // nothing was left bound
		t.Fatal(err)
	}
	l.Close()
}

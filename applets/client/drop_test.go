package client

import (
	"strings"
	"testing"

	"postoffice/applets/cmdline"
	"postoffice/applets/config"
	"postoffice/applets/sysexits"
	"postoffice/internal/disk"
	"postoffice/internal/disk/crashfs"
	"postoffice/internal/smtp"
	"postoffice/spool/maildrop"
)

// A81: a message that is left takes at most half of what is free above minfree; of one
// that would take more nothing stays, and its sender is told that it can be tried
// again, where a server would never take it that it can't.
func TestLeaveShare(t *testing.T) {
	const mebi = 1 << 20
	d := maildrop.Drop{Recipients: []smtp.Recipient{{Path: smtp.Path{Local: "bob"}}}}
	for _, tt := range []struct {
		space disk.Space
		size  int64 // option
		text  int   // octets
		code  int
		says  string
	}{
		{disk.Space{Octets: 6 * mebi, Inodes: 9, Total: 100 * mebi}, 0, 2 * mebi, 0, ""},
		{disk.Space{Octets: 6 * mebi, Inodes: 9, Total: 100 * mebi}, 0, 2*mebi + 1, sysexits.TempFail, "half of what is left for mail"},
		{disk.Space{Octets: 6 * mebi, Inodes: 9, Total: 100 * mebi}, 3 * mebi, 3*mebi + 1, sysexits.TempFail, "half of what is left for mail"},
		{disk.Space{Octets: 9 * mebi, Inodes: 9, Total: 100 * mebi}, mebi, mebi + 1, sysexits.Unavailable, "too large"},
		{disk.Space{Octets: 2 * mebi, Inodes: 9, Total: 100 * mebi}, 0, 10, sysexits.TempFail, "no room"},
		{disk.Space{Octets: 2 * mebi, Inodes: 9, Total: 3 * mebi}, 0, mebi / 2, 0, ""}, // minfree is a tenth
		{disk.Space{Octets: 9 * mebi, Total: 100 * mebi}, 0, 10, sysexits.TempFail, "no room"},
	} {
		f := crashfs.New()
		f.MkdirAll("/maildrop", 0o733)
		f.SetSpace(tt.space)
		dir, err := f.OpenDir("/maildrop")
		if err != nil {
			t.Fatal(err)
		}
		err = leaveIn(dir, "/maildrop", &config.Config{MinFree: 2 * mebi, Size: tt.size}, d, strings.NewReader(strings.Repeat("x", tt.text)))
		left := 0
		for _, err := range dir.Names() {
			if err != nil {
				t.Fatal(err)
			}
			left++
		}
		if tt.code == 0 {
			if err != nil || left != 1 {
				t.Errorf("%+v: %v, and %d files", tt, err, left)
			}
			continue
		}
		if err == nil || cmdline.ExitStatus(err) != tt.code || !strings.Contains(err.Error(), tt.says) || left != 0 {
			t.Errorf("%+v: %v, exit code %d, and %d files", tt, err, cmdline.ExitStatus(err), left)
		}
	}
}

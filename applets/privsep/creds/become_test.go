//go:build linux

package creds

import (
	"errors"
	"strings"
	"testing"

	"golang.org/x/sys/unix"

	"postoffice/internal/testenv"
)

// TestExposedA85: after the switch others of the user are kept out by either of
// what ptrace(2) looks at: that the process isn't dumpable, or a capability that
// they lack.
func TestExposedA85(t *testing.T) {
	for _, tt := range []struct {
		dumpable int
		kept     uint64
		out      bool
	}{
		{0, 0, true},                       // fs.suid_dumpable is 0
		{2, 0, true},                       // or 2
		{1, capSet(unix.CAP_SETUID), true}, // or 1, and all threads kept some
		{1, 0, false},                      // but not with cgo
		{0, capSet(0, unix.CAP_SETGID), true},
	} {
		if err := exposed(tt.dumpable, tt.kept); (err == nil) != tt.out || err != nil && !errors.Is(err, errExposed) {
			t.Errorf("dumpable %d, kept %#x: %v, want %v", tt.dumpable, tt.kept, err, tt.out)
		}
	}
}

// TestWhatAThreadKept: a thread with other ids, or with any capability, is found.
func TestWhatAThreadKept(t *testing.T) {
	want := map[string]string{"Uid": repeated(20001), "CapPrm": noCaps}
	good := "Name:\tpostoffice\nUid:\t20001\t20001\t20001\t20001\nCapPrm:\t0000000000000000\nCapBnd:\t000001ffffffffff\n"
	for _, tt := range []struct{ from, to, wrong string }{
		{"", "", ""},
		{"Uid:\t20001", "Uid:\t0", "Uid: 0\t20001\t20001\t20001"},
		{"20001\nCap", "0\nCap", "Uid: 20001\t20001\t20001\t0"},
		{"CapPrm:\t0", "CapPrm:\t8", "CapPrm: 8000000000000000"},
	} {
		if got := differs(strings.Replace(good, tt.from, tt.to, 1), want); got != tt.wrong {
			t.Errorf("%q: %q, want %q", tt.to, got, tt.wrong)
		}
	}
}

// TestCheckSwitch: on this machine a switch drops root's capabilities, and the
// thread that tried it is gone.
func TestCheckSwitch(t *testing.T) {
	testenv.NeedsRoot(t, "switches ids")
	if err := CheckSwitch(firstUID); err != nil {
		t.Error(err)
	}
	OnThread(func() bool {
		if err := unix.Prctl(unix.PR_SET_KEEPCAPS, 1, 0, 0, 0); err != nil {
			t.Error(err)
		}
		// As if it had been inherited: the second of the two switches keeps them.
		if err := keepsNothing("now", func(c caps) uint64 { return c.permitted }); err == nil || !strings.Contains(err.Error(), "securebits 0x10") {
			t.Errorf("%v, want an error with the securebits", err)
		}
		return false
	})
	if err := CheckSwitch(firstUID); err != nil {
		t.Error(err)
	}
}

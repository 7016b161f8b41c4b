package server

import (
	"os/exec"
	"strings"
	"testing"

	"postoffice/applets/cmdline"
	"postoffice/applets/service"
	"postoffice/applets/sysexits"
)

// TestZones: TZ says what the zone is, and never what file to read (A68).
func TestZones(t *testing.T) {
	for _, tt := range []struct {
		tz   string
		want bool
	}{
		{"", true}, {"UTC", true}, {":Europe/Berlin", true}, {"CET-1CEST,M3.5.0,M10.5.0/3", true}, {"<+0330>-3:30", true}, {"Etc/GMT+12", true},
		{"/etc/localtime", false}, {":/home/alice/fifo", false}, {"../../../home/alice/fifo", false}, {"Europe/../../x", false},
		{"a b", false}, {"UTC\n", false}, {strings.Repeat("x", 129), false},
	} {
		if got := isZone(tt.tz); got != tt.want {
			t.Errorf("TZ=%q: %v, want %v", tt.tz, got, tt.want)
		}
	}
}

// TestNoMemory: a server that could not begin for want of memory, which Go's
// runtime ends with 2, is no answer for good.
func TestNoMemory(t *testing.T) {
	err := exec.Command("sh", "-c", "exit 2").Run()
	for _, got := range []error{StartError(service.Exit(service.MasterRole, err)), belowError(service.Exit(service.MasterRole, err))} {
		if code := cmdline.ExitStatus(got); code != sysexits.TempFail || !strings.Contains(got.Error(), "exit status 2") {
			t.Errorf("exit code %d, %q, want %d", code, got, sysexits.TempFail)
		}
	}
}

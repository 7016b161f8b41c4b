package applets

import (
	"context"
	"io"
	"slices"
	"strings"
	"testing"

	"postoffice/applets/cmdline"
	"postoffice/applets/control"
)

// sendmail's -q[!]R, -q[!]S and -q[!]I try what fits; of several with one
// letter one is enough, of several letters each has to fit. What is held is
// never tried.
func TestQueueFlags(t *testing.T) {
	for _, tt := range []struct{ flags, every, fits string }{
		{"now", "", "REMOTE MIXED"},
		{"0", "", "REMOTE MIXED"},
		{"f", "", "REMOTE MIXED"},
		{"Gmqueue", "", "REMOTE MIXED"},
		{"15m", "15m", "REMOTE MIXED"},
		{"p30m", "30m", "REMOTE MIXED"},
		{"p", "", "REMOTE MIXED"},
		{"RTWO.", "", "REMOTE"},
		{"Rdone", "", ""}, // has it already
		{"Rtwo Rfive", "", "REMOTE MIXED"},
		{"R", "", "REMOTE MIXED"},
		{"!Rtwo", "", "MIXED"},
		{"Sann", "", "REMOTE MIXED"},
		{"Sann Rsix", "", "MIXED"},
		{"!Sann", "", ""},
		{"Imix", "", "MIXED"},
		{"Iheld", "", ""},
		{"Qodd", "", ""},
		{"!Qodd", "", "REMOTE MIXED"},
	} {
		f := readQueueFlags(strings.Fields(tt.flags))
		var fits []string
		for _, m := range filterMessages() {
			if f.fits(m) {
				fits = append(fits, m.ID)
			}
		}
		if f.every != tt.every || strings.Join(fits, " ") != tt.fits {
			t.Errorf("-q %s: every %q, %v, want %q, %s", tt.flags, f.every, fits, tt.every, tt.fits)
		}
	}
}

// -qR and the like say nothing of what they try, nor that nothing fits.
func TestRunSomeIsSilent(t *testing.T) {
	for _, tt := range []struct{ flag, did string }{{"Rtwo", "REMOTE"}, {"Rnobody", ""}} {
		var out strings.Builder
		f := &fakeQueue{}
		q := someOf(&cmdline.Env{Stdout: &out, Stderr: &out}, readQueueFlags([]string{tt.flag}))
		q.queue = f
		err := q.run(t.Context())
		did := slices.Collect(func(yield func(string) bool) {
			for _, r := range f.did {
				yield(r.Do + " " + r.ID)
			}
		})
		if want := strings.TrimSpace(control.Retry + " " + tt.did); err != nil || out.Len() > 0 || tt.did != "" && !slices.Equal(did, []string{want}) || tt.did == "" && did != nil {
			t.Errorf("-q%s: %v, did %v, said %q", tt.flag, err, did, out.String())
		}
	}
}

// The modes of others that mean one of ours are taken, and -bh ends at once.
func TestModesOfOthers(t *testing.T) {
	env := &cmdline.Env{Program: "sendmail", Stdout: io.Discard, Stderr: io.Discard}
	env.Prepare(sendmail, []string{"-bH"})
	if err := runSendmail(context.Background(), env); err != nil {
		t.Error(err)
	}
	for _, tt := range []struct{ theirs, ours string }{{"a", "m"}, {"S", "S"}, {"P", "p"}, {"v", "v"}, {"z", "z"}} {
		if got := modern(tt.theirs); got != tt.ours {
			t.Errorf("-b%s is -b%s, want -b%s", tt.theirs, got, tt.ours)
		}
	}
}

package applets

import (
	"context"
	"io"
	"strings"
	"testing"

	"postoffice/applets/cmdline"
	"postoffice/applets/sysexits"
)

// TestEmptySender: -f and -r with an empty value are the null sender, as <> is:
// a .forward's `sendmail -f "$SENDER"` for a bounce must make none (A59).
func TestEmptySender(t *testing.T) {
	for _, args := range [][]string{
		{"-f", ""}, {"-r", ""}, {"-f", " "}, {"-f", "<>"}, {"-f<>"}, {"-i", "-f", "joe", "-r", ""}, {"--sender="},
	} {
		in := listen(t, nil)
		code, stderr := in.sendmail("Subject: x\n\nhello\n", append(args, "bob")...)
		if code != 0 || len(in.got) != 1 || !in.got[0].ReversePath.IsNull() {
			t.Errorf("%q: exit code %d, %+v, %q, want the null reverse-path", args, code, in.got, stderr)
		}
	}
	in := listen(t, nil)
	if code, _ := in.sendmail("Subject: x\n\nhello\n", "bob"); code != 0 || in.got[0].ReversePath.Local != "joe" {
		t.Errorf("without -f: exit code %d, %+v, want joe", code, in.got)
	}
}

// TestNamedSender: -f takes an address as people write it, and an envelope
// holds the address alone.
func TestNamedSender(t *testing.T) {
	for _, tt := range []struct{ from, want string }{
		{"Joe Doe <joe@far.example>", "joe@far.example"},
		{`"Doe, Joe" <joe@far.example>`, "joe@far.example"},
		{"joe@far.example (Joe Doe)", "joe@far.example"},
		{"J\u00f6 <joe@far.example>", "joe@far.example"},
		{"<joe@far.example>", "joe@far.example"},
		{"Cron Daemon <joe>", "joe@us.example"},
		{"joe@far.example.", "joe@far.example"},
		{"joe@b\u00fccher.example", "joe@xn--bcher-kva.example"},
	} {
		in := listen(t, nil)
		code, stderr := in.sendmail("Subject: x\n\nhello\n", "-f", tt.from, "bob")
		if code != 0 || len(in.got) != 1 || in.got[0].ReversePath.String() != tt.want {
			t.Errorf("-f %q: exit code %d, %+v, %q, want %s", tt.from, code, in.got, stderr, tt.want)
		}
	}
}

// TestEmptyFlags: a flag whose value is empty was given, and nothing is sent or
// changed as if it weren't there.
func TestEmptyFlags(t *testing.T) {
	for _, args := range [][]string{{"-N", ""}, {"-R", ""}, {"-V", ""}, {"--wait", ""}, {"-C", ""}, {"-b", ""}, {"--delivery-mode="}, {"--delivery-mode", "now"}} {
		in := listen(t, nil)
		if code, stderr := in.sendmail("hello\n", append(args, "bob")...); code != sysexits.Usage || len(in.got) > 0 {
			t.Errorf("sendmail %q: exit code %d, %d messages, %q, want 64", args, code, len(in.got), stderr)
		}
	}
	in := listen(t, nil)
	if code, _ := in.sendmail("Subject: x\n\nhello\n", "-F", "", "bob"); code != 0 || !strings.Contains(in.data[0], "\nFrom: joe@us.example\n") {
		t.Errorf("-F '': exit code %d, %q, want a From field without a name", code, in.data)
	}
	for _, args := range [][]string{{"--to", ""}, {"--from", ""}, {"--host", ""}, {"--reason", ""}, {"--older", ""}} {
		f := &fakeQueue{}
		if code, _, errs := queueCall(t, f, append([]string{"remove", "--to", "*"}, args...)...); code != sysexits.Usage || len(f.did) > 0 {
			t.Errorf("queue remove %q: exit code %d, did %v, %q, want 64", args, code, f.did, errs)
		}
	}
	f := &fakeQueue{}
	if code, _, errs := queueCall(t, f, "hold", "--reason", "", "REMOTE"); code != 0 || len(f.did) != 1 || f.did[0].Reason == "" {
		t.Errorf("queue hold --reason '': exit code %d, did %v, %q", code, f.did, errs)
	}
	env := &cmdline.Env{Stdin: strings.NewReader(""), Stdout: io.Discard, Stderr: io.Discard}
	if code := programs().Run(context.Background(), env, []string{"smtpd", "-C", "/dev/null", "-q", ""}); code != sysexits.Usage {
		t.Errorf("smtpd -q '': exit code %d, want 64", code)
	}
}

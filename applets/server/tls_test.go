package server

import (
	"context"
	"log/slog"
	"os"
	"path/filepath"
	"reflect"
	"strings"
	"testing"

	"postoffice/applets/cmdline"
	"postoffice/applets/config"
	"postoffice/applets/service"
	"postoffice/applets/smtpd"
)

// TestAddresses: submission has the hosts of listen, and no address is bound twice.
func TestAddresses(t *testing.T) {
	for _, tt := range []struct {
		name string
		conf config.Config
		want map[string][]string
	}{
		{"SMTP alone", config.Config{Listen: []string{":25"}}, map[string][]string{"": {":25"}}},
		{"both", config.Config{Listen: []string{":25"}, MSP: 587, MSPS: 465}, map[string][]string{"": {":25"}, service.MSP: {":587"}, service.MSPS: {":465"}}},
		{"two hosts", config.Config{Listen: []string{"192.0.2.1:25", "[2001:db8::1]:2525"}, MSP: 587},
			map[string][]string{"": {"192.0.2.1:25", "[2001:db8::1]:2525"}, service.MSP: {"192.0.2.1:587", "[2001:db8::1]:587"}}},
		{"one host on two ports", config.Config{Listen: []string{"mx.example:25", "mx.example:26"}, MSP: 587}, map[string][]string{"": {"mx.example:25", "mx.example:26"}, service.MSP: {"mx.example:587"}}},
		{"listen has the port, too", config.Config{Listen: []string{":25", ":587"}, MSP: 587}, map[string][]string{"": {":25"}, service.MSP: {":587"}}},
		{"listen alone has the port", config.Config{Listen: []string{":25", ":587"}}, map[string][]string{"": {":25", ":587"}}},
	} {
		if got := addresses(&tt.conf); !reflect.DeepEqual(got, tt.want) {
			t.Errorf("%s: %v, want %v", tt.name, got, tt.want)
		}
	}
}

// TestPortOfOthers: the port where other servers bring mail is none of submission.
func TestPortOfOthers(t *testing.T) {
	for conf, good := range map[*config.Config]bool{{MSP: 587, MSPS: 465}: true, {MSP: 25}: false, {MSPS: 25}: false, {MSP: 587, MSPS: 587}: false} {
		if err := checkTLS(conf); (err == nil) != good {
			t.Errorf("msp=%d, msps=%d: %v", conf.MSP, conf.MSPS, err)
		}
	}
}

// TestKindOf: what sessions a listener has.
func TestKindOf(t *testing.T) {
	s := &settings{conf: &config.Config{MSP: 587, MSPS: 10465}}
	for _, tt := range []struct {
		l    service.Listener
		want smtpd.Kind
	}{
		{service.Listener{Name: service.Submission, Address: "/run/submission"}, smtpd.Local},
		{service.Listener{Name: "0.0.0.0:25", Address: "0.0.0.0:25"}, smtpd.Relay},
		{service.Listener{Name: "0.0.0.0:587", Service: service.MSP, Address: "0.0.0.0:587"}, smtpd.Submission},
		{service.Listener{Name: "0.0.0.0:465", Service: service.MSPS, Address: "0.0.0.0:465"}, smtpd.SubmissionTLS},
		{service.Listener{Name: "[::]:10465", Address: "[::]:10465"}, smtpd.SubmissionTLS}, // inherited
	} {
		if got := s.kindOf(tt.l); got != tt.want {
			t.Errorf("%+v: %v, want %v", tt.l, got, tt.want)
		}
	}
}

// TestRefusedAtStart: a certificate that can't be used is told to whoever starts the
// server, with the line that names it, and not in the log alone.
func TestRefusedAtStart(t *testing.T) {
	cf := filepath.Join(t.TempDir(), "cf")
	if err := os.WriteFile(cf, []byte("\ntls-cert=/no/such.pem\ndb-dir="+t.TempDir()+"\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	var out, log strings.Builder
	env := &cmdline.Env{Stdin: strings.NewReader(""), Stdout: &out, Stderr: &out}
	env.Prepare(cmdline.Applet{Name: "smtpd"}, []string{"-C", cf})
	if err := env.Parse(); err != nil {
		t.Fatal(err)
	}
	conf, err := env.Config()
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel() // nothing is looked at again
	d := daemon{env: env, conf: conf, log: slog.New(slog.NewTextHandler(&log, nil))}
	d.openCerts(ctx)
	want := "warning: " + cf + ":2: tls-cert: open /no/such.pem: no such file or directory; until it is mended the certificate is left out"
	if !strings.Contains(out.String(), want) || !strings.Contains(log.String(), "certificate refused") {
		t.Errorf("told %q, want %q; log:\n%s", out.String(), want, log.String())
	}
	if all := d.certs.Pairs(); len(all) != 1 || !all[0].Own {
		t.Errorf("%d certificates, want our own", len(all))
	}
}

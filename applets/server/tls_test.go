package server

import (
	"reflect"
	"testing"

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

package outcome_test

import (
	"errors"
	"fmt"
	"io"
	"testing"

	"postoffice/deliver/outcome"
	"postoffice/internal/smtp"
)

func TestDSN(t *testing.T) {
	for _, tt := range []struct {
		name string
		o    outcome.Outcome
		want string
	}{
		{"the zero outcome", outcome.Outcome{}, "4.0.0"},
		{"nobody replied", outcome.Outcome{Err: io.EOF}, "4.4.1"},
		{"the reply's own", outcome.Refusal("5.1.1", "no such user", io.EOF), "5.1.1"},
		{"a bare 550", outcome.Outcome{Action: outcome.Bounced, Reply: smtp.Reply{Code: 550}}, "5.0.0"},
		{"a bare 450", outcome.Outcome{Reply: smtp.Reply{Code: 450}, Err: io.EOF}, "4.0.0"},
		{"a bare 250", outcome.Outcome{Action: outcome.Delivered, Reply: smtp.Reply{Code: 250}}, "2.0.0"},
		{"our success", outcome.Success("taken"), "2.0.0"},
	} {
		if got := tt.o.DSN(); got != tt.want {
			t.Errorf("%s: %q, want %q", tt.name, got, tt.want)
		}
	}
}

func TestCause(t *testing.T) {
	if got := outcome.Deferral("4.2.0", "busy", nil).Cause().Error(); got != "450 4.2.0 busy" {
		t.Errorf("without an error: %q", got)
	}
	if got := outcome.Deferral("4.2.0", "busy", io.EOF).Cause(); got != io.EOF {
		t.Errorf("with an error: %v", got)
	}
}

func TestOf(t *testing.T) {
	bounced := outcome.Refusal("5.4.6", "loop", nil)
	bounced.Relay, bounced.TLS = "mx[192.0.2.1]:25", "TLSv1.3"
	if got := outcome.Of(fmt.Errorf("wrapped: %w", &outcome.Failure{Outcome: bounced})); got != bounced {
		t.Errorf("a wrapped failure: %+v, want %+v", got, bounced)
	}
	odd := errors.New("odd")
	if got := outcome.Of(odd); got.Action != outcome.Deferred || got.Err != odd || !got.Reply.IsZero() {
		t.Errorf("another error: %+v, want a deferral", got)
	}
}

func TestFailure(t *testing.T) {
	for _, tt := range []struct {
		o    outcome.Outcome
		want string
	}{
		{outcome.Outcome{Err: io.EOF}, "EOF"},
		{outcome.Outcome{Err: io.EOF, Relay: "mx"}, "mx: EOF"},
		{outcome.Outcome{Reply: smtp.Reply{Code: 421, Text: "busy"}, Relay: "mx"}, "mx said 421 busy"},
	} {
		if got := (&outcome.Failure{Outcome: tt.o}).Error(); got != tt.want {
			t.Errorf("%+v: %q, want %q", tt.o, got, tt.want)
		}
	}
}

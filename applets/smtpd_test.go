package applets

import (
	"testing"
	"time"

	"postoffice/applets/cmdline"
	"postoffice/applets/sysexits"
)

// TestQueueTime is the time of -q (S89, R68): a bare number is minutes.
func TestQueueTime(t *testing.T) {
	for _, tt := range []struct {
		text string
		want time.Duration // 0: refused
	}{
		{"15m", 15 * time.Minute}, {"45", 45 * time.Minute}, {"1h30m", 90 * time.Minute}, {"2d", 48 * time.Hour},
		{"1w", 7 * 24 * time.Hour}, {"30s", time.Minute}, {"90s", 2 * time.Minute},
		{"0", 0}, {"m", 0}, {"15x", 0}, {"-5m", 0}, {"99999999999999999999m", 0}, {"1000w", 0},
	} {
		got, err := queueTime(tt.text)
		if got != tt.want || (tt.want == 0) != (cmdline.ExitStatus(err) == sysexits.Usage) {
			t.Errorf("-q%s: %v, %v, want %v", tt.text, got, err, tt.want)
		}
	}
}

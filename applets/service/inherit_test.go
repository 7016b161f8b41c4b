package service

import "testing"

// TestServiceOf: the name that a service manager gives comes before the port.
func TestServiceOf(t *testing.T) {
	for _, tt := range []struct{ name, address, want string }{
		{"unknown", "0.0.0.0:25", ""},
		{"unknown", "0.0.0.0:587", MSP},
		{"unknown", "[::]:465", MSPS},
		{"msp", "0.0.0.0:2587", MSP},
		{"msps", "0.0.0.0:587", MSPS},
		{"", "0.0.0.0:2525", ""},
	} {
		if got := serviceOf(tt.name, tt.address); got != tt.want {
			t.Errorf("%q, %s: %q, want %q", tt.name, tt.address, got, tt.want)
		}
	}
}

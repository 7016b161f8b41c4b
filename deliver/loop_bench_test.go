package deliver

import (
	"strings"
	"testing"
)

// BenchmarkLoop reads what a message's header says of its way.
func BenchmarkLoop(b *testing.B) {
	body := strings.Repeat("0123456789012345678901234567890123456789012345678901234567890123456789\n", 40)
	for _, bb := range []struct{ name, text string }{
		{"Usual", "Received: x\nDelivered-To: alice@us.example\n" + strings.Repeat("X-Field-Name: some value of usual length\n\tand a folded line\n", 10) + "\n" + body},
		{"Fields1000", strings.Repeat("X-Field-Name: some value of usual length\n", 1000) + "\n"},
	} {
		b.Run(bb.name, func(b *testing.B) {
			b.ReportAllocs()
			b.SetBytes(int64(len(bb.text)))
			for b.Loop() {
				readLoop(strings.NewReader(bb.text))
			}
		})
	}
}

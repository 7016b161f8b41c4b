package local

import (
	"io"
	"strings"
	"testing"

	"postoffice/internal/smtp"
)

// BenchmarkFormat is what a message costs on its way into a mailbox, less the
// writing.
func BenchmarkFormat(b *testing.B) {
	header := "Return-Path: <a@b.example>\n" + strings.Repeat("X-Field-Name: some value of usual length\n\tand a folded line\n", 10) + "\n"
	body := strings.Repeat("0123456789012345678901234567890123456789012345678901234567890123456789\n", 40)
	for _, bb := range []struct {
		name, text string
		escape     Escape
	}{
		{"Usual", header + body, EscapeNone},
		{"Usual/Escape", header + body, EscapeAll},
		{"Fields1000", strings.Repeat("X-Field-Name: some value of usual length\n", 1000) + "\n", EscapeNone},
		{"Body1MB", header + strings.Repeat(body, 365), EscapeNone},
		{"Body1MB/Escape", header + strings.Repeat(body, 365), EscapeAll},
	} {
		b.Run(bb.name, func(b *testing.B) {
			o := FormatOptions{ReversePath: smtp.Path{Local: "a", Domain: "b.example"}, DeliveredTo: smtp.Path{Local: "alice", Domain: "us.example"}, Time: deliveryTime, Escape: bb.escape}
			b.ReportAllocs()
			b.SetBytes(int64(len(bb.text)))
			for b.Loop() {
				if err := Format(io.Discard, o, strings.NewReader(bb.text)); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}

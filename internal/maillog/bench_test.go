package maillog

import (
	"io"
	"log/slog"
	"testing"
	"time"

	"postoffice/internal/smtp"
)

// BenchmarkLine is what the line of a delivered message costs whoever logs it.
func BenchmarkLine(b *testing.B) {
	log, out, err := New(Options{Sink: "stderr", Stderr: io.Discard, Program: "server"})
	if err != nil {
		b.Fatal(err)
	}
	defer out.Close()
	to := smtp.Path{Local: "someone", Domain: "example.org"}
	reply := smtp.Reply{Code: 250, Status: "2.0.0", Text: "Ok: queued as 4F2A9C1D0B"}
	b.ReportAllocs()
	for b.Loop() {
		log.LogAttrs(b.Context(), slog.LevelInfo, "message delivered", QueueID("3XK9WQ7T4B2M8A"), Session("3XK9WQ7T1"), To(to),
			Relay("mx.example.org[192.0.2.1]:25"), DSN("2.0.0"), Status(Sent), Delay(120*time.Millisecond), Reply(reply))
	}
}

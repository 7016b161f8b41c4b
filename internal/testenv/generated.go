package testenv

import (
	"encoding/base64"
	"fmt"
	"io"
	"math/rand/v2"
	"strings"
)

// A part is n rows of the same length.
type part struct {
	n   int
	row func(i int) string
}

// A generator is a message made of parts, row by row, never whole.
type generator struct {
	name  string
	parts []part
}

func (g generator) message() Message {
	m := Message{Name: g.name, Open: func() io.ReadCloser { return io.NopCloser(&rows{parts: g.parts}) }}
	for _, p := range g.parts {
		m.Size += int64(p.n) * int64(len(p.row(0)))
	}
	return m
}

// rows reads parts.
type rows struct {
	parts []part
	i     int    // next row of parts[0]
	rest  string // of the row before
}

func (r *rows) Read(b []byte) (n int, err error) {
	for n < len(b) {
		if r.rest == "" {
			if len(r.parts) == 0 {
				break
			}
			if p := r.parts[0]; r.i < p.n {
				r.rest = p.row(r.i)
				r.i++
				continue
			}
			r.parts, r.i = r.parts[1:], 0
			continue
		}
		k := copy(b[n:], r.rest)
		n, r.rest = n+k, r.rest[k:]
	}
	if n == 0 && len(b) > 0 {
		err = io.EOF
	}
	return n, err
}

func text(s string) part { return times(1, s) }

func times(n int, s string) part { return part{n, func(int) string { return s }} }

// header is a usual header with its empty line.
func header(name, fields string) part {
	return text("From: Gen Erator <gen@sender.example>\nTo: ben@us.example\nSubject: " + name +
		"\nDate: Tue, 03 Mar 2026 09:00:00 +0000\nMessage-ID: <" + name + "@sender.example>\n" + fields + "\n")
}

// base64Rows is n lines of 76 letters, as an attachment has.
func base64Rows(n int) part {
	raw := make([]byte, 57*1024)
	random := rand.NewChaCha8([32]byte{1})
	random.Read(raw)
	return part{n, func(i int) string {
		at := i % 1024 * 57
		return base64.StdEncoding.EncodeToString(raw[at:at+57]) + "\n"
	}}
}

// edges are lengths at which buffers of servers end.
var edges = []int{510, 511, 512, 513, 514, 996, 997, 998, 999, 1000, 1022, 1023, 1024, 1025, 1026, 2045, 2047, 2048, 2050,
	4094, 4095, 4096, 4097, 4098, 8190, 8192, 8194, 16384, 32767, 32768, 32769, 65533, 65535, 65536, 65537, 65538}

// edgeLines has for each length a line of that many octets, the last a dot,
// with dot lines behind it.
func edgeLines() part {
	var b strings.Builder
	for _, n := range edges {
		b.WriteString(strings.Repeat("e", n-1) + ".\n.\n..\n")
	}
	return text(b.String())
}

// dotsAtPowers has dot lines that begin at 2^k-3 to 2^k+3 of the body, in
// lines of at most 71 octets.
func dotsAtPowers() part {
	var b strings.Builder
	for k := 7; k <= 17; k++ {
		for d := -3; d <= 3; d += 3 {
			for b.Len() < 1<<k+d {
				n := min(71, 1<<k+d-b.Len())
				b.WriteString(strings.Repeat("f", n-1) + "\n")
			}
			b.WriteString(".\n")
		}
	}
	return text(b.String())
}

// noise is lines of random octets, of all values but CR, LF and NUL.
func noise(lines int) part {
	random := rand.New(rand.NewPCG(1, 2))
	var b strings.Builder
	for range lines {
		for range random.IntN(200) {
			c := byte(1 + random.IntN(255))
			if c != '\r' && c != '\n' {
				b.WriteByte(c)
			}
		}
		b.WriteByte('\n')
	}
	return text(b.String())
}

func generated() []generator {
	words := strings.Repeat("word ", 20000)
	mixed := "Content-Type: multipart/mixed; boundary=b\n"
	number := func(format string) func(int) string {
		return func(i int) string { return fmt.Sprintf(format, i) }
	}
	return []generator{
		{"gen-attachment-25MB", []part{header("attachment", mixed), text("--b\n\nsee below\n--b\nContent-Type: application/zip\nContent-Transfer-Encoding: base64\n\n"),
			base64Rows(25 << 20 / 77), text("--b--\n")}},
		{"gen-attachment-1MB", []part{header("attachment-small", mixed), text("--b\nContent-Type: application/zip\nContent-Transfer-Encoding: base64\n\n"),
			base64Rows(1 << 20 / 77), text("--b--\n")}},
		{"gen-line-100kB-words", []part{header("words", ""), text(words + "end.\n.\n")}},
		{"gen-line-100kB-octets", []part{header("octets", ""), times(1000, strings.Repeat("o", 100)), text(".\nFrom the next line\n")}},
		{"gen-line-100kB-utf8", []part{header("utf8", "Content-Type: text/plain; charset=utf-8\n"), times(1000, strings.Repeat("ä", 50)), text("\n")}},
		{"gen-line-1MB-dots", []part{header("dotline", ""), times(1000, strings.Repeat(".", 1000)), text("\n.\n")}},
		{"gen-line-100kB-unended", []part{header("unended", ""), times(1000, strings.Repeat("u", 100)), text(".")}},
		{"gen-header-100kB-words", []part{text("X-Words: " + words + "end.\n"), header("headerwords", ""), text("body\n")}},
		{"gen-header-5000-octets", []part{text("X-Octets: " + strings.Repeat("h", 5000) + ".\n"), header("headeroctets", ""), text("body\n")}},
		{"gen-header-1000-fields", []part{{1000, number("X-Field-%04d: value\n")}, header("fields", ""), text("body\n")}},
		{"gen-header-folded-64kB", []part{text("References:\n"), {1300, number(" <%032d.x@list.example>\n")}, header("references", ""), text("body\n")}},
		{"gen-recipients-1000", []part{text("Cc: first@us.example"), {1000, number(",\n user%04d@us.example")}, text("\n"), header("recipients", ""), text("body\n")}},
		{"gen-edges", []part{header("edges", ""), edgeLines()}},
		{"gen-dots-at-powers", []part{header("powers", ""), dotsAtPowers()}},
		{"gen-dots-100000", []part{header("manydots", ""), times(100000, ".\n")}},
		{"gen-lines-empty-100000", []part{header("manylines", ""), times(100000, "\n")}},
		{"gen-lines-short-50000", []part{header("short", ""), {50000, number("line %05d\n")}}},
		{"gen-from-lines-1000", []part{header("fromlines", ""), {1000, number("\nFrom user%04d@sender.example Tue Mar  3 09:00:00 2026\n>From x\n")}}},
		{"gen-noise", []part{header("noise", "Content-Transfer-Encoding: 8bit\n"), noise(2000)}},
		{"gen-998", []part{header("998", ""), times(50, strings.Repeat("9", 998)+"\n"), times(50, "."+strings.Repeat("8", 997)+"\n")}},
		{"gen-4KiB", []part{header("4k", ""), times(56, strings.Repeat("k", 69)+"\n")}},
	}
}

// RelayPaths are ways around a relay check, as RCPT has them, for a server of
// us.example, which has an alice and takes no mail for far (A16).
func RelayPaths() []string {
	return []string{
		"<v%far@us.example>", `<"v@far"@us.example>`, "<@us.example:v@far>", "<far!v>", "<far!v@us.example>",
		"<v@far@us.example>", "<alice@us.example@far>", "<v@far.>", "<v@[192.0.2.99]>", "<v@[IPv6:2001:db8::9]>",
		"<v@3221226083>", "<v@192.0.2.99>", `<v\@far@us.example>`, "<v@far\x00@us.example>", "<v@far,alice@us.example>",
		"<<v@far>>", "<(c)v@far>", "<v @far>", "<alice@us.example.far>", "<alice@us.examplefar>", "<smtp:v@far>",
	}
}

// ProgramPaths are programs, files and lists, and paths that leave a directory, of
// which none is a recipient (A18, A19).
func ProgramPaths() []string {
	return []string{
		"<|/bin/sh>", `<"|id"@us.example>`, "</etc/passwd>", "<:include:/etc/passwd@us.example>", "<$(id)@us.example>",
		"<${run{id}}@us.example>", "<;id@us.example>", "<../../tmp/x@us.example>", "<alice/../root@us.example>", "<-froot@us.example>",
	}
}

// OddPaths have bad or strange UTF-8 in an address of alice's, or letters that look
// like hers (A15).
func OddPaths() []string {
	var paths []string
	for _, odd := range []string{"\x80", "\xc3", "\xc0\xaf", "\xed\xa0\x80", "\xf4\x90\x80\x80", "\xfe\xff", "\u202e", "\u200b", "\uff41"} {
		paths = append(paths, "<alice"+odd+"@us.example>", "<"+odd+"lice@us.example>", "<alice@us"+odd+".example>")
	}
	return paths
}

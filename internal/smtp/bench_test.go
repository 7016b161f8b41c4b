package smtp

import (
	"bufio"
	"bytes"
	"io"
	"strings"
	"testing"
)

// sizes of messages: the 4 KiB that servers are compared with, and a megabyte.
var sizes = []struct {
	name string
	n    int
}{{"4KiB", 4 << 10}, {"1MiB", 1 << 20}}

func BenchmarkReadData(b *testing.B) {
	for _, size := range sizes {
		b.Run(size.name, func(b *testing.B) {
			wire := []byte(strings.ReplaceAll(filler(size.n), "\n", "\r\n") + ".\r\n")
			in := bytes.NewReader(wire)
			src := bufio.NewReaderSize(in, blockSize)
			b.SetBytes(int64(len(wire)))
			b.ReportAllocs()
			for b.Loop() {
				in.Reset(wire)
				src.Reset(in)
				if _, err := ReadData(io.Discard, src, DataOptions{}); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}

func BenchmarkWriteData(b *testing.B) {
	for _, size := range sizes {
		b.Run(size.name, func(b *testing.B) {
			stored := filler(size.n)
			src := strings.NewReader(stored)
			b.SetBytes(int64(len(stored)))
			b.ReportAllocs()
			for b.Loop() {
				src.Reset(stored)
				if err := WriteData(io.Discard, src); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}

func BenchmarkReadReply(b *testing.B) {
	const wire = "250-them\r\n250-PIPELINING\r\n250-SIZE 10240000\r\n250 8BITMIME\r\n"
	in := strings.NewReader(wire)
	src := bufio.NewReader(in)
	b.ReportAllocs()
	for b.Loop() {
		in.Reset(wire)
		src.Reset(in)
		if _, err := ReadReply(src); err != nil {
			b.Fatal(err)
		}
	}
}

func BenchmarkParsePath(b *testing.B) {
	b.ReportAllocs()
	for b.Loop() {
		if _, _, err := ParsePath("<someone.else+tag@mail.example.org> SIZE=4096 BODY=8BITMIME"); err != nil {
			b.Fatal(err)
		}
	}
}

// No line of a message costs an allocation: 100 KiB of short lines cost
// what one line costs.
func TestDataAllocations(t *testing.T) {
	stored := strings.Repeat("a\n.\n\n", 20000)
	wire := strings.ReplaceAll(strings.ReplaceAll(stored, "\n.", "\n.."), "\n", "\r\n") + ".\r\n"
	for name, f := range map[string]func(){
		"ReadData": func() {
			ReadData(io.Discard, bufio.NewReader(strings.NewReader(wire)), DataOptions{})
		},
		"WriteData": func() { WriteData(io.Discard, strings.NewReader(stored)) },
	} {
		if n := testing.AllocsPerRun(5, f); n > 10 {
			t.Errorf("%s: %v allocations", name, n)
		}
	}
}

package remote

import (
	"bytes"
	"errors"
	"io"
	"strings"
	"testing"
	"testing/iotest"
)

func TestMeasure(t *testing.T) {
	for _, tt := range []struct {
		text string
		want shape
	}{
		{"", shape{}},
		{"\n", shape{wire: 2}},
		{"a", shape{wire: 3}},
		{"a\nb\n", shape{wire: 6}},
		{"a\nb", shape{wire: 6}},
		{"\u00e4\n", shape{wire: 4, eight: true, header: true}},
		{"a: b\n\n\u00e4\n", shape{wire: 12, eight: true}},
		{"a: \u00e4\n\nb\n", shape{wire: 12, eight: true, header: true}},
		{"\n\u00e4\n\n\u00e4\n", shape{wire: 12, eight: true}},
		{strings.Repeat("x", 100) + "\x80", shape{wire: 103, eight: true, header: true}},
		{strings.Repeat("1234567\n", 10000), shape{wire: 90000}},
		{strings.Repeat("1234567\n", 10000) + "\xff", shape{wire: 90003, eight: true, header: true}},
	} {
		for _, r := range []io.Reader{strings.NewReader(tt.text), iotest.OneByteReader(strings.NewReader(tt.text)), iotest.DataErrReader(strings.NewReader(tt.text))} {
			if got, err := measure(r); got != tt.want || err != nil {
				t.Errorf("measure(%.20q) = %+v, %v; want %+v", tt.text, got, err, tt.want)
			}
		}
	}
	if _, err := measure(iotest.ErrReader(io.ErrClosedPipe)); !errors.Is(err, io.ErrClosedPipe) {
		t.Error(err)
	}
}

func BenchmarkMeasure(b *testing.B) {
	for _, size := range []int{4 << 10, 1 << 20} {
		text := bytes.Repeat([]byte("a line of fifty octets, as mails have them, .....\n"), size/50)
		b.Run("", func(b *testing.B) {
			b.SetBytes(int64(len(text)))
			for b.Loop() {
				measure(bytes.NewReader(text))
			}
		})
	}
}

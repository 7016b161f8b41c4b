package envelope

import (
	"bytes"
	"errors"
	"io"
	"strings"
	"testing"
)

// TestA32EveryCut: a message file cut at every octet, and with every octet
// changed, is damaged, and never read as another message.
func TestA32EveryCut(t *testing.T) {
	good := whole(t)
	for n := range good {
		if c, err := Parse(strings.NewReader(string(good[:n])), int64(n), true); !errors.Is(err, ErrDamaged) {
			t.Fatalf("cut at %d: %v, %v", n, c, err)
		}
	}
	slots := 0
	for n := range good {
		for _, x := range []byte{1, 0x20, 0x80} {
			bad := append([]byte{}, good...)
			bad[n] ^= x
			if _, err := Parse(strings.NewReader(string(bad)), int64(len(bad)), true); !errors.Is(err, ErrDamaged) {
				if bad[n] == byte(Delivered) || bad[n] == byte(Bounced) {
					slots++
					continue
				}
				t.Fatalf("octet %d from %q to %q: %v", n, good[n], bad[n], err)
			}
		}
	}
	t.Logf("%d changes of a slot to another state", slots)
}

// TestA2CarriageReturn: data with a CR is damaged, whatever its checksum (A2).
func TestA2CarriageReturn(t *testing.T) {
	var e Encoder
	env := envelopeFor(1)
	file, err := e.Begin(nil, &env)
	if err != nil {
		t.Fatal(err)
	}
	const data = "a\r\n"
	if err := e.Data([]byte(data)); !errors.Is(err, ErrInvalid) {
		t.Errorf("encoded: %v, want ErrInvalid", err)
	}
	e.first.data, e.first.dataSum = int64(len(data)), sum(0, []byte(data))
	copy(file, e.FirstLine())
	file = append(file, data...)
	if _, err := Parse(bytes.NewReader(file), int64(len(file)), true); !errors.Is(err, ErrDamaged) || err.Error() != "CR in its data" {
		t.Errorf("parsed: %v, want it damaged by its CR", err)
	}
}

// TestA32ReadErrors: a read error is the disk's, at whatever octet, and never
// damage (A32).
func TestA32ReadErrors(t *testing.T) {
	file := whole(t)
	eio := errors.New("input/output error")
	for n := range file {
		_, err := Parse(failAt{bytes.NewReader(file), int64(n), eio}, int64(len(file)), true)
		if !errors.Is(err, eio) || errors.Is(err, ErrDamaged) {
			t.Fatalf("read error at %d: %v", n, err)
		}
	}
}

// failAt fails to read beyond an offset.
type failAt struct {
	io.ReaderAt
	at  int64
	err error
}

func (f failAt) ReadAt(p []byte, off int64) (int, error) {
	if off+int64(len(p)) <= f.at {
		return f.ReaderAt.ReadAt(p, off)
	}
	n, _ := f.ReaderAt.ReadAt(p[:max(0, f.at-off)], off)
	return n, f.err
}

package smtp

import (
	"bufio"
	"bytes"
	"io"
	"testing"

	"postoffice/internal/testenv"
)

// Every message of the collection, as a client sends it, is stored as another
// implementation says; and what is sent on is the same message.
func TestA3A6Collection(t *testing.T) {
	for _, m := range testenv.Messages() {
		octets := m.Octets()
		facts := testenv.FactsOf(octets)
		want := testenv.SpoolForm(octets)
		var stored bytes.Buffer
		src := bufio.NewReader(io.MultiReader(bytes.NewReader(testenv.WireForm(octets)), bytes.NewReader([]byte("RSET\r\n"))))
		info, err := ReadData(&stored, src, DataOptions{})
		if rest, _ := io.ReadAll(src); err != nil || string(rest) != "RSET\r\n" {
			t.Errorf("%s: %v, left %.100q", m.Name, err, rest)
		}
		if !bytes.Equal(stored.Bytes(), want) {
			t.Errorf("%s: stored %d octets, want %d", m.Name, stored.Len(), len(want))
		}
		if info.Octets != int64(len(want)) || info.NUL != facts.NUL {
			t.Errorf("%s: %+v", m.Name, info)
		}
		var exact, folded bytes.Buffer
		if err := WriteDataExact(&exact, bytes.NewReader(octets)); err != nil || !bytes.Equal(exact.Bytes(), testenv.WireForm(want)) {
			t.Errorf("%s: sent %d octets, %v", m.Name, exact.Len(), err)
		}
		if err := WriteData(&folded, bytes.NewReader(want)); err != nil {
			t.Errorf("%s: %v", m.Name, err)
		}
		if !facts.Long {
			if !bytes.Equal(folded.Bytes(), exact.Bytes()) {
				t.Errorf("%s: changed although no line is long", m.Name)
			}
			continue
		}
		got := []byte(testenv.SinkMessage{Wire: folded.Bytes()}.Text())
		if testenv.FactsOf(got).Long || !bytes.Equal(testenv.Unfold(got, want), want) {
			t.Errorf("%s: folded to %d octets, %+v", m.Name, len(got), testenv.FactsOf(got))
		}
	}
}

package envelope

import (
	"bytes"
	"errors"
	"reflect"
	"slices"
	"strings"
	"testing"
	"time"

	"postoffice/internal/smtp"
)

// nasty are values that have broken other servers' files (A22).
var nasty = []string{"", " ", "x", "a\nto D <b@c>", "a\r\nb", "a\x00b", "\"", "\\", "\\x0a", "<>", "a@b", "é", "\xff", strings.Repeat("x", 300), "=", "550-a\r\n550"}

// FuzzEnvelope: Parse is the Encoder's inverse, and the number of lines depends on
// the number of recipients alone (A22).
func FuzzEnvelope(f *testing.F) {
	for _, s := range nasty {
		f.Add(s, s, s, s, s, s, s)
	}
	f.Fuzz(func(t *testing.T, client, session, local, domain, name, value, data string) {
		env := Envelope{
			Arrived: arrived, Client: client, Session: session,
			ReversePath: smtp.Path{Local: local, Domain: domain},
			Params:      []smtp.Param{{Name: name, Value: value}},
			Recipients: []smtp.Recipient{
				{Path: smtp.Path{Local: "x" + local, Domain: domain}, Params: []smtp.Param{{Name: "ORCPT", Value: value}}},
				{Path: path("b@c")},
			},
		}
		data = strings.ReplaceAll(data, "\r", "")
		file, err := build(env, data)
		if err != nil {
			if !errors.Is(err, ErrInvalid) {
				t.Fatal(err)
			}
			return
		}
		if n := bytes.Count(file[:len(file)-len(data)], []byte("\n")); n != 9 {
			t.Errorf("%d lines, want 9:\n%q", n, file)
		}
		for _, c := range file[:len(file)-len(data)] {
			if c != '\n' && (c < ' ' || c > '~') {
				t.Errorf("octet %#02x in the envelope %q", c, file)
			}
		}
		c, err := Parse(bytes.NewReader(file), int64(len(file)), true)
		if err != nil {
			t.Fatalf("%v\n%q", err, file)
		}
		if got := c.Envelope(); !reflect.DeepEqual(norm(got), norm(env)) {
			t.Errorf("got  %+v\nwant %+v", got, env)
		}
		if got := string(file[c.data : c.data+c.first.data]); got != data {
			t.Errorf("data %q, want %q", got, data)
		}
	})
}

// norm makes nil and empty parameters equal; "NAME=" is NAME.
func norm(e Envelope) Envelope {
	e.Params = slices.Clip(append([]smtp.Param{}, e.Params...))
	e.Recipients = slices.Clone(e.Recipients)
	for i := range e.Recipients {
		e.Recipients[i].Params = append([]smtp.Param{}, e.Recipients[i].Params...)
	}
	return e
}

// FuzzNote: Parse is the Encoder's inverse, in one line, and a note of another
// message is none.
func FuzzNote(f *testing.F) {
	for i, s := range nasty {
		f.Add(s, s, s, s, s, i, 450+i, uint16(i), uint16(3*i))
	}
	f.Fuzz(func(t *testing.T, event, relay, status, text, errText string, attempt, code int, key, n uint16) {
		note := Note{
			Time: arrived, Event: event, Attempt: attempt, Relay: clip(relay), Err: clip(errText),
			Reply: smtp.Reply{Code: code, Status: clip(status), Text: clip(text)}, Next: arrived.Add(time.Duration(attempt)),
		}
		note.Next = note.Next.Truncate(time.Microsecond)
		for i := range int(n % 1000) {
			note.Keys = append(note.Keys, Key{Block: int(key) % 3, Index: int(key) + i + i/7})
		}
		line, err := appendNote(nil, 42, note)
		if err != nil {
			return // the writer refuses: attempt < 0, too long
		}
		if bytes.IndexByte(line, '\n') != len(line)-1 {
			t.Fatalf("more than a line: %q", line)
		}
		got, ok := parseNote(42, line)
		if !ok || !reflect.DeepEqual(got, note) {
			t.Errorf("got  %+v, %v\nwant %+v\n%s", got, ok, note, line)
		}
		if _, ok := parseNote(43, line); ok {
			t.Errorf("taken for another message's: %s", line)
		}
	})
}

// FuzzDecode: no octets make the decoder panic, or read without end; and what
// it takes the writer could have written: written again it is the same.
func FuzzDecode(f *testing.F) {
	file, err := build(envelopeFor(2), text)
	if err != nil {
		f.Fatal(err)
	}
	note, err := appendNote(nil, 0, Note{Time: arrived, Err: "x"})
	if err != nil {
		f.Fatal(err)
	}
	block, err := appendBlock(nil, 0, 1, Key{0, 1}, Expansion{Via: Via{Source: FromUsermap, Name: "a b"}, Owner: "u v", Targets: []Target{{Path: path("a@b")}, {Kind: Program, Agent: &Agent{Source: FromForward, Name: "u"}}}})
	if err != nil {
		f.Fatal(err)
	}
	f.Add(file, []byte{}, []byte("D"))
	f.Add(file, slices.Concat(note, block, note), []byte("-E"))
	f.Add([]byte("postoffice 1 envelope=00000000"), []byte{}, []byte{})
	f.Fuzz(func(t *testing.T, file, tail, states []byte) {
		file = mend(file, tail, states)
		c, err := Parse(bytes.NewReader(file), int64(len(file)), true)
		if err != nil {
			var n newer
			if !errors.Is(err, ErrDamaged) && !errors.As(err, &n) {
				t.Fatalf("no damage and no read error: %v", err)
			}
			return
		}
		again, err := build(c.Envelope(), string(file[c.data:c.Tail()]))
		if err != nil {
			t.Fatalf("taken, but can't be written: %v\n%q", err, file)
		}
		for i := range c.blocks[0].n {
			again[c.rcpts[i].at] = byte(c.rcpts[i].State)
		}
		if string(again) != string(file[:c.Tail()]) {
			t.Errorf("taken\n%q, written again\n%q", file[:c.Tail()], again)
		}
		for _, b := range c.blocks[1:] {
			rewrite(t, c, b, file)
		}
		for _, err := range c.Notes(bytes.NewReader(file), int64(len(file))) {
			if err != nil {
				t.Fatal(err)
			}
		}
	})
}

// mend makes checksums right, so that the fuzzer gets past them, and writes
// states into the slots.
func mend(file, tail, states []byte) []byte {
	file = slices.Clone(file)
	if len(file) >= firstLen {
		if f, err := parseFirst(file[:firstLen]); err == nil && f.data >= 0 && int64(len(file)) >= int64(firstLen)+int64(f.envelope)+f.data {
			env := file[firstLen : firstLen+f.envelope]
			at := firstLen + f.envelope
			f.dataSum = sum(0, file[at:int64(at)+f.data])
			line := appendFirst(nil, f)
			f.check = sum(sum(0, env), line)
			copy(file, appendCheck(line, f.check))
			for i := range states {
				if n := bytes.Index(env, []byte("to - ")); n >= 0 {
					env[n+3] = states[i]
				}
			}
			file = append(file[:int64(at)+f.data], reseal(tail, f.check)...)
		}
	}
	return file
}

// reseal makes the checksums of a tail's notes and blocks right.
func reseal(tail []byte, check uint32) []byte {
	var out []byte
	crc := check
	for line := range strings.Lines(string(tail)) {
		b := []byte(line)
		t, _, isTarget := parseTarget(bytes.TrimSuffix(b, []byte("\n")))
		switch {
		case strings.HasPrefix(line, noteStart) && len(b) > len(noteStart)+sumDigits+1:
			n := len(noteStart)
			copy(b[n:], appendDigits(nil, uint64(sum(check, b[n+sumDigits+1:])), 16, sumDigits))
		case strings.HasPrefix(line, "expansion "):
			crc = sum(check, b)
		case isTarget:
			crc = sumPending(crc, b, t.Kind)
		case strings.HasPrefix(line, "end ") && len(b) > sumDigits+2:
			copy(b[len(b)-1-sumDigits:], appendDigits(nil, uint64(crc), 16, sumDigits))
		}
		out = append(out, b...)
	}
	return out
}

// rewrite writes a block again and compares.
func rewrite(t *testing.T, c *File, b block, file []byte) {
	x := Expansion{Via: b.via, Owner: b.owner, ReversePath: b.reverse}
	for _, s := range c.rcpts[b.first : b.first+b.n] {
		x.Targets = append(x.Targets, *s.target)
	}
	again, err := appendBlock(nil, c.first.check, b.number, c.key(b.parent), x)
	if err != nil {
		t.Fatalf("block taken, but can't be written: %v\n%q", err, file)
	}
	if !bytes.Contains(file, again[len(blockStart):]) {
		t.Errorf("block %d of %q, written again %q", b.number, file, again)
	}
}

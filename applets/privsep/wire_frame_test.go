//go:build linux

package privsep

import (
	"bytes"
	"errors"
	"io"
	"net/netip"
	"os"
	"strings"
	"testing"
	"testing/iotest"

	"postoffice/applets/privsep/birth"
	"postoffice/deliver/local"
	"postoffice/internal/testenv"
)

func TestFramesA71(t *testing.T) {
	long := strings.Repeat("x", maxToken+1)
	for _, tt := range []struct {
		name string
		in   []byte
		want string // in the error; "": none
	}{
		{"deliver", frame{opDeliver, []string{"t", "alice", "", "", "", "", ""}}.append(nil), ""},
		{"ready", []byte{byte(opReady)}, ""},
		{"empty", nil, "empty"},
		{"unknown op", []byte{99}, "unknown op"},
		{"op of the other side", []byte{byte(opStop)}, "unknown op"},
		{"field missing", frame{opDeliver, []string{"t"}}.append(nil), "missing"},
		{"field too many", frame{opRecorded, []string{"t", "u"}}.append(nil), "too many"},
		{"field over its limit", frame{opRecorded, []string{long}}.append(nil), "limit"},
		{"field over the frame", []byte{byte(opRecorded), 0, 9, 'x'}, "9 octets"},
		{"trailing", append(frame{opRecorded, []string{"t"}}.append(nil), 0), "too many"},
	} {
		_, err := toMaster().decode(tt.in)
		if tt.want == "" && err != nil || tt.want != "" && (err == nil || !strings.Contains(err.Error(), tt.want) || !errors.Is(err, errFrame)) {
			t.Errorf("%s: %v, want %q", tt.name, err, tt.want)
		}
	}
}

// FuzzFrame: what is decoded keeps its limits and encodes to the same octets,
// so that there is one frame for each meaning; and it can be sent.
func FuzzFrame(f *testing.F) {
	f.Add(byte(0), frame{opDeliver, []string{"t", "alice", "", "", "", "", ""}}.append(nil))
	f.Add(byte(1), frame{opResult, []string{"t", "delivered", "250", "2.0.0", "ok", ""}}.append(nil))
	f.Add(byte(3), frame{opResult, []string{"t", "changed", "450", "4.3.5", "changed", "not there"}}.append(nil))
	f.Add(byte(3), frame{opListed, []string{"1", "changed", "", "", "0", "not there"}}.append(nil))
	f.Add(byte(0), []byte{byte(opRecorded), 0, 0})
	f.Add(byte(2), frame{opList, []string{"1", "alice", "forward", "alice", strings.Repeat("h", 32), ""}}.append(nil))
	f.Add(byte(3), frame{opListed, []string{"1", "owner", "/list", "alice", "1000", ""}}.append(nil))
	f.Add(byte(0), frame{opKeepOut, []string{strings.Repeat("x", addressSize)}}.append(nil))
	sides := []side{toMaster(), toServer(), toUser(), fromUser()}
	f.Fuzz(func(t *testing.T, which byte, in []byte) {
		s := sides[int(which)%len(sides)]
		fr, err := s.decode(in)
		if err != nil {
			return
		}
		if again := fr.append(nil); !bytes.Equal(again, in) {
			t.Errorf("%x decodes to %+v, which is %x", in, fr, again)
		}
		if err := s.check(fr); err != nil {
			t.Errorf("%x: %v", in, err)
		}
		sh := s[fr.op]
		if len(fr.fields) != len(sh.fields) || len(in) > maxFrame {
			t.Errorf("%x: %d fields, %d octets", in, len(fr.fields), len(in))
		}
		for i, field := range fr.fields {
			if len(field) > sh.fields[i] {
				t.Errorf("%x: field %d of %d octets", in, i, len(field))
			}
		}
	})
}

// FuzzKeepOut: whatever octets the server sends, a client is kept out for one frame
// alone, with the address that is in it.
func FuzzKeepOut(f *testing.F) {
	one := netip.MustParseAddr("::ffff:192.0.2.1").As16()
	f.Add(frame{opKeepOut, []string{string(one[:])}}.append(nil))
	f.Add(frame{opKeepOut, []string{string(one[:15])}}.append(nil))
	f.Add([]byte{byte(opKeepOut), 0, 16})
	f.Fuzz(func(t *testing.T, in []byte) {
		kept := make(chan netip.Addr, 1)
		m := &master{o: MasterOptions{KeepOut: func(a netip.Addr) { kept <- a }}}
		s := &serverLife{m: m}
		fr, err := toMaster().decode(in)
		if err == nil && fr.op != opKeepOut {
			return // another frame
		}
		if err == nil {
			err = s.handle(fr, nil)
		}
		m.running.Wait()
		close(kept)
		a, ok := <-kept
		want := len(in) == 3+addressSize && in[0] == byte(opKeepOut) && in[1] == 0 && in[2] == addressSize
		if ok != want || ok && !bytes.Equal(a.AsSlice(), in[3:]) || (err == nil) != want {
			t.Errorf("%x: %v is kept out, %v, error %v", in, a, ok, err)
		}
	})
}

func TestStream(t *testing.T) {
	for _, n := range []int{0, 1, maxChunk - 1, maxChunk, maxChunk + 1, 2 * maxChunk, 3*maxChunk + 7} {
		body := strings.Repeat("x", n)
		var wire bytes.Buffer
		if err := sendStream(&wire, iotest.HalfReader(strings.NewReader(body))); err != nil {
			t.Fatal(err)
		}
		whole := wire.Bytes()
		got, err := io.ReadAll(newStreamReader(bytes.NewReader(whole)))
		if err != nil || string(got) != body {
			t.Errorf("%d octets: %d, %v", n, len(got), err)
		}
		for cut := range min(len(whole), 200) { // its end is missing
			part := whole[:len(whole)-1-cut]
			if _, err := io.ReadAll(newStreamReader(bytes.NewReader(part))); err != io.ErrUnexpectedEOF {
				t.Errorf("%d octets less %d: %v, want %v", n, cut+1, err, io.ErrUnexpectedEOF)
			}
		}
	}
	var wire bytes.Buffer
	err := sendStream(&wire, io.MultiReader(strings.NewReader("abc"), iotest.ErrReader(io.ErrUnexpectedEOF)))
	if _, ok := errors.AsType[local.BodyError](err); !ok {
		t.Errorf("broken source: %v, want a local.BodyError", err)
	}
	if _, err := io.ReadAll(newStreamReader(&wire)); err != io.ErrUnexpectedEOF {
		t.Errorf("broken source is read as %v", err)
	}
}

// FuzzStream: a stream that is read to its end is one that was sent, to the
// octet, and nothing else is.
func FuzzStream(f *testing.F) {
	f.Add([]byte("\x00\x00\x00\x01x\x00\x00\x00\x00"))
	f.Add([]byte("\x00\x00\x00\x00tail"))
	f.Fuzz(func(t *testing.T, in []byte) {
		got, err := io.ReadAll(newStreamReader(bytes.NewReader(in)))
		if err != nil {
			if err != io.ErrUnexpectedEOF && !errors.Is(err, errFrame) {
				t.Errorf("%x: %v", in, err)
			}
			return
		}
		if len(got)+lengthSize > len(in) {
			t.Errorf("%d octets became %d", len(in), len(got))
		}
		var wire bytes.Buffer
		sendStream(&wire, bytes.NewReader(got))
		again, err := io.ReadAll(newStreamReader(&wire))
		if err != nil || !bytes.Equal(again, got) {
			t.Errorf("%x: %x, %v", got, again, err)
		}
	})
}

// TestLinkRefusesDescriptors: a frame comes with as many as it needs.
func TestLinkRefusesDescriptors(t *testing.T) {
	for _, tt := range []struct {
		f     frame
		files int
		ok    bool
	}{
		{frame{op: opReady}, 0, true},
		{frame{op: opReady}, 1, false},
		{frame{opDeliver, []string{"t", "u", "", "", "", "", ""}}, 1, true},
		{frame{opDeliver, []string{"t", "u", "", "", "", "", ""}}, 0, false},
		{frame{opDeliver, []string{"t", "u", "", "", "", "", ""}}, 2, false},
		{frame{opDeliver, []string{"t", "u", "", "", "", "", ""}}, maxFiles + 3, false},
	} {
		before := testenv.Descriptors()
		ours, theirs, err := birth.Pair()
		testenv.Must(t, err)
		peer, err := birth.Conn(theirs)
		testenv.Must(t, err)
		c, p := newConn(ours, toMaster(), toServer()), newConn(peer, toServer(), toMaster())
		var files []*os.File
		for range tt.files {
			f, err := os.Open(os.DevNull)
			testenv.Must(t, err)
			files = append(files, f)
		}
		testenv.Must(t, p.send(tt.f, files...))
		closeAll(files)
		_, got, err := c.recv()
		if (err == nil) != tt.ok || err != nil && !errors.Is(err, errFrame) {
			t.Errorf("%v with %d descriptors: %v", tt.f, tt.files, err)
		}
		closeAll(got)
		p.close()
		if _, _, err := c.recv(); err != io.EOF {
			t.Errorf("closed: %v, want EOF", err)
		}
		c.close()
		if after := testenv.Descriptors(); after != before {
			t.Errorf("%v with %d descriptors: %d open before, %d after", tt.f, tt.files, before, after)
		}
	}
}

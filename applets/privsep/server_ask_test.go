//go:build linux

package privsep

import (
	"encoding/binary"
	"errors"
	"io"
	"os"
	"runtime"
	"strings"
	"sync"
	"testing"

	"postoffice/internal/testenv"
)

// ldapGetent knows one user.
const ldapGetent = `#!/bin/sh
case $3 in
ldap) echo 'ldap:*:5000:5000:L D:/home/ldap:/bin/sh' ;;
broken) exit 1 ;;
*) exit 2 ;;
esac
`

// TestLookupThroughLink: the server asks the master, which asks getent.
func TestLookupThroughLink(t *testing.T) {
	h := start(t, func(o *MasterOptions) {
		testenv.Must(t, os.WriteFile(o.Names.NSSwitch, []byte("passwd: files ldap\n"), 0o644))
		testenv.Must(t, os.WriteFile(o.Names.Getent, []byte(ldapGetent), 0o755))
		testenv.Must(t, os.Chmod(o.Names.Getent, 0o755)) // whatever the umask is
	})
	k := h.dial()
	k.want("ldap 5000 false <nil>", "lookup ldap")
	k.want("root 0 false <nil>", "lookup root")
	k.want(" 0 true no such user", "lookup nix")
	k.want(" 0 false getent", "lookup broken")
	var wg sync.WaitGroup
	for i := range 100 { // more than may be under way at once
		wg.Go(func() { h.dial().want(" 0 true", "lookup nix%d", i) })
	}
	wg.Wait()
}

// TestLongListsWait: a process that begins a long list and sends no more keeps its
// place among those only while nobody needs it, and short lists need none.
func TestLongListsWait(t *testing.T) {
	long := make(chan struct{}, 1)
	begin := func(text string) (*os.File, chan listed) {
		r, w, err := os.Pipe()
		testenv.Must(t, err)
		t.Cleanup(func() { r.Close(); w.Close() })
		got := make(chan listed, 1)
		go func() { got <- newListPipe(r, long).lines() }()
		_, err = io.WriteString(w, text)
		testenv.Must(t, err)
		return w, got
	}
	piece := func(lines int) string {
		text := strings.Repeat("/list\t1\ta@b.example\n", lines)
		return string(binary.BigEndian.AppendUint32(nil, uint32(len(text)))) + text
	}
	const end = "\x00\x00\x00\x00"
	_, silent := begin(piece(2000) + piece(2000))
	for len(long) == 0 {
		runtime.Gosched()
	}
	if _, short := begin(piece(100) + end); len((<-short).lines) != 100 {
		t.Error("a short list was not read")
	}
	_, next := begin(piece(2000) + piece(2000) + end)
	if got := <-silent; !errors.Is(got.err, errSilent) {
		t.Errorf("the silent one: %d lines, %v, want %v", len(got.lines), got.err, errSilent)
	}
	if got := <-next; len(got.lines) != 4000 || got.err != nil {
		t.Errorf("%d lines, %v, want 4000", len(got.lines), got.err)
	}
}

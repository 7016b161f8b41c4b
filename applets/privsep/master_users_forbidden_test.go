//go:build linux

package privsep

import (
	"bytes"
	"io"
	"math/rand/v2"
	"os"
	"strings"
	"testing"

	"postoffice/applets/privsep/birth"
	"postoffice/deliver/local"
	"postoffice/internal/testenv"
)

// TestForbiddenRunsA71: a server that asks for what no server of ours does is
// killed.
func TestForbiddenRunsA71(t *testing.T) {
	h := start(t, nil)
	hash := strings.Repeat("h", 32)
	run := func(change ...string) frame {
		f := frame{opRun, []string{"t", "u3", "alias", "a", hash, "", "", "", "", "", "", "Q"}}
		copy(f.fields, change)
		return f
	}
	list := func(change ...string) frame {
		f := frame{opList, []string{"1", "u3", "alias", "a", hash, ""}}
		copy(f.fields, change)
		return f
	}
	for i, tt := range []struct {
		f      frame
		file   string // its descriptor; "": a pipe
		reason string
	}{
		{run("t", "../x"), "", "name begins with"},
		{run("t", ""), "", "empty name"},
		{run("t", "u3", "file"), "", `source`},
		{run("t", "u3", "alias", "a", "short"), "", "hash of 5 octets"},
		{run("t", "u3", "alias", "a", hash, "yes"), "", "or nothing"},
		{run("a b"), "", "token with the octet"},
		{run("t", "u1", "forward", "u0"), "", "forward of"},
		{run("t", "u1", "mailer", "u0"), "", "mailer of"},
		{run(), "/dev/null", "want a pipe"},
		{run(), "/etc/passwd", "want a pipe"},
		{list("1", "../x"), "", "name begins with"},
		{list("1", "u1", "forward", "u0"), "", "forward of"},
		{list("1", "u1", "forward", "u1", "short"), "", "hash of 5 octets"},
		{list("x"), "", "invalid syntax"},
		{list(), "/etc/passwd", "want a pipe"},
		{frame{opForwards, []string{"1", "../x", ""}}, "none", "name begins with"},
		{frame{opForwards, []string{"x", "u0", ""}}, "none", "invalid syntax"},
		{run(), "none", "0 descriptors"},
	} {
		file := tt.file
		if file == "" {
			file = "pipe"
		}
		h.dial().say("with %s %x", file, tt.f.append(nil))
		h.log.Wait(t, `msg="server ended"`, i+1)
		if log := h.log.String(); !strings.Contains(log, tt.reason) {
			t.Errorf("%v: no %q in the log", tt.f, tt.reason)
		}
	}
	if list := userProcesses(t); len(list) > 0 {
		t.Errorf("users' processes %v, want none", list)
	}
	h.dial().want("delivered", "run u3 alias x t 10")
}

// TestForeignUsersA71: requests for uid 0, for users that don't exist and for
// aliases' items of somebody else than the default-user are refused, told in
// the log and not endured for long.
func TestForeignUsersA71(t *testing.T) {
	h := start(t, nil)
	k := h.dial()
	before := len(userProcesses(t))
	n := 0
	for _, tt := range []struct{ want, command string }{
		{"deferred 4.3.0 this user's process can't be started now not allowed: root has uid 0", "run root forward root t 1"},
		{"deferred 4.3.0 this user's process can't be started now not allowed: toor has uid 0", "run toor alias x t 1"},
		{"deferred 4.3.0 this user's process can't be started now not allowed: items of aliases", "run u1 alias x t 1"},
		{"bounced 5.1.1", "run nobody-here forward nobody-here t 1"},
		{"deferred 4.3.0 this user's process can't be started now no such user", "run nobody-here usermap x t 1"}, // the default-user may be there again
		{"0 lines, not allowed: root has uid 0", "list root alias x"},
		{"0 lines, not allowed: toor has uid 0", "list toor forward toor"},
		{"0 lines, no such user", "list nobody-here alias x"},
	} {
		k.want(tt.want, "%s", tt.command)
		n++
	}
	k.want("0 lines, not allowed: root has uid 0", "list root usermap x") // strangers can cause it: it doesn't count
	if got := strings.Count(h.log.String(), `msg="request refused"`); got != n || len(userProcesses(t)) != before {
		t.Errorf("%d refused in the log, %d processes started, want %d and none", got, len(userProcesses(t))-before, n)
	}
	n-- // an account whose .forward waited in the queue may have gone: it doesn't count
	for i := range 2 * maxForeign {
		k.want("bounced 5.1.1", "run nobody-here forward nobody-here g%d 1", i)
	}
	for ; n <= maxForeign; n++ {
		k.say("run root forward root t%d 1", n)
	}
	h.log.Wait(t, `msg="server ended"`, 1)
	h.dial().want("delivered", "run u3 alias x t 10")
}

// TestRandomAnswersA71 takes 10,000 frames from a user's process, half of them
// nearly right: none is an answer to what nobody asked.
func TestRandomAnswersA71(t *testing.T) {
	testenv.NeedsRoot(t, "starts processes as other users")
	h := prepare(t)
	m := newMaster(t.Context(), optionsIn(h.dir, h.log))
	before := testenv.Descriptors()
	for seed := range uint64(10_000) {
		ours, theirs, err := birth.Pair()
		testenv.Must(t, err)
		u := &userProcess{users: m.users, conn: newConn(ours, fromUser(), toUser()), cmd: noProcess(), lost: make(chan struct{}), waiting: map[string]chan frame{}}
		_, err = theirs.Write(randomAnswer(seed))
		testenv.Must(t, err)
		testenv.Must(t, theirs.Close())
		u.read()
		if u.killer == nil || !u.killer.Stop() {
			t.Errorf("frame %d: the process isn't to end", seed)
		}
	}
	if n := strings.Count(h.log.String(), "user's process killed"); n != 10_000 || testenv.Descriptors() != before {
		t.Errorf("%d processes killed, %d open files, want all and %d", n, testenv.Descriptors(), before)
	}
}

// TestAnswerOfAnotherKindA71: the result of a run is no answer to a list, which
// the server would wait for, and its place with it, for ever.
func TestAnswerOfAnotherKindA71(t *testing.T) {
	h := start(t, nil)
	k := h.dial()
	k.want("0 lines, the user's process ended", "list u1 alias result")
	k.want("2 lines", "list u1 alias lines:2")
}

// TestOwnerOfAnotherUidA71: a user's process that names a list's owner and another's
// uid would have the server ask for whom it may not, which the server would be
// killed for. It is killed itself.
func TestOwnerOfAnotherUidA71(t *testing.T) {
	h := start(t, nil)
	k := h.dial()
	for i, name := range []string{"root", "toor", "u2"} {
		k.want("0 lines, the user's process ended", "list u3 alias owner:%s", name)
		h.log.Wait(t, "user's process killed", i+1)
	}
	k.want("0 lines, /list belongs to nobody-here: no such user", "list u3 alias owner:nobody-here")
	k.want("owner {File:/list User:u1 UID:20002}", "list u3 alias owner:u1")
	if log := h.log.String(); strings.Contains(log, "request refused") {
		t.Error("it counted for the server")
	}
}

// randomAnswer is sometimes nearly right.
func randomAnswer(seed uint64) []byte {
	r := rand.New(rand.NewPCG(seed, 2))
	words := []string{"1", "", "delivered", "owner", "read", "250", "2.0.0", "../x", "4294967296"}
	f := frame{op: []op{opResult, opListed}[r.IntN(2)]}
	for range 5 + r.IntN(3) {
		f.fields = append(f.fields, words[r.IntN(len(words))])
	}
	b := f.append(nil)
	if r.IntN(2) == 0 {
		for range 1 + r.IntN(4) {
			b[r.IntN(len(b))] = byte(r.UintN(256))
		}
	}
	return b
}

// TestListsOfHostileUsers: what a user's process writes into the pipe of a list
// is a list of ours to its end, or an error, and no more is read than a list
// may have.
func TestListsOfHostileUsers(t *testing.T) {
	stream := func(text string) string {
		var b bytes.Buffer
		testenv.Must(t, sendStream(&b, strings.NewReader(text)))
		return b.String()
	}
	whole := stream("/f\t1\ta@b.example\n")
	for name, tt := range map[string]struct {
		in    io.Reader
		lines int // -1: an error
	}{
		"a list":       {strings.NewReader(whole), 1},
		"none":         {strings.NewReader(stream("")), 0},
		"broken off":   {strings.NewReader(whole[:len(whole)-1]), -1},
		"nothing":      {strings.NewReader(""), -1},
		"no list":      {strings.NewReader(stream("root:x:0:0\n")), -1},
		"no stream":    {strings.NewReader("\xff\xff\xff\xff"), -1},
		"without end":  {io.MultiReader(strings.NewReader("\x00\x00\xff\xf8"), letters{}), -1},
		"many lines":   {strings.NewReader(stream(strings.Repeat("/f\t1\ta\n", local.MaxLines+1))), -1},
		"a long line":  {strings.NewReader(stream("/f\t1\t|" + strings.Repeat("x", 17<<20))), -1},
		"a broken one": {strings.NewReader(stream("/f\t1\ta@b.example\n/f\t2\ta@b.exa")), -1},
	} {
		r, w, err := os.Pipe()
		testenv.Must(t, err)
		wrote := make(chan error, 1)
		go func() {
			_, err := io.Copy(w, tt.in)
			w.Close()
			wrote <- err
		}()
		got := newListPipe(r, make(chan struct{}, 1)).lines()
		r.Close()
		<-wrote // it has ended, or found nobody who reads
		if (got.err != nil) != (tt.lines < 0) || got.err == nil && len(got.lines) != tt.lines {
			t.Errorf("%s: %d lines, %v, want %d", name, len(got.lines), got.err, tt.lines)
		}
	}
}

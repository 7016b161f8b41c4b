package server

import (
	"errors"
	"fmt"
	"io"
	"iter"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"testing"
	"time"

	"postoffice/applets/control"
	"postoffice/deliver/route"
	"postoffice/internal/smtp"
	"postoffice/spool"
	"postoffice/spool/envelope"
)

var listedAt = time.Date(2026, 11, 24, 12, 0, 0, 0, time.UTC)

// queued puts a message into a spool, and lets work be done to it.
func queued(t *testing.T, q *spool.Queue, client string, to []smtp.Recipient, work func(*spool.Message)) spool.ID {
	t.Helper()
	in, err := q.Create(envelope.Envelope{Arrived: listedAt, Client: client, ReversePath: smtp.Path{Local: "from"}, Params: []smtp.Param{{Name: smtp.ParamTLS}}, Recipients: to})
	if err == nil {
		_, err = io.WriteString(in, "Subject: x\n\nhello\n")
	}
	if err != nil {
		t.Fatal(err)
	}
	if err := in.Commit(); err != nil {
		t.Fatal(err)
	}
	m, err := q.Claim(in.ID())
	if err != nil {
		t.Fatal(err)
	}
	defer m.Close()
	work(m)
	return in.ID()
}

func newQueue(t *testing.T) (*spool.Queue, string) {
	t.Helper()
	dir := t.TempDir()
	q, err := spool.Open(spool.Options{Dir: dir, UID: -1, GID: -1})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { q.Close() })
	return q, dir
}

func rcpts(names ...string) (all []smtp.Recipient) {
	for _, n := range names {
		all = append(all, smtp.Recipient{Path: smtp.Path{Local: n, Domain: "x.example"}})
	}
	return all
}

func must(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

// login is the name of a user.
func nameOf(t *testing.T, uid int) string {
	t.Helper()
	name, err := Login(uid)
	must(t, err)
	return name
}

// one is a message as a viewer is shown it.
func one(t *testing.T, q *spool.Queue, v route.Viewer, id spool.ID) control.Message {
	t.Helper()
	for m, err := range control.Messages(Listing{Queue: q, Viewer: v}.One(id)) {
		must(t, err)
		return m
	}
	t.Fatalf("nothing is shown of %s", id)
	return control.Message{}
}

// TestHistory: the newest note about a recipient is what mailq shows of them.
func TestHistory(t *testing.T) {
	q, _ := newQueue(t)
	key := func(i int) envelope.Key { return envelope.Key{Index: i} }
	id := queued(t, q, "c", rcpts("a", "b", "list"), func(m *spool.Message) {
		must(t, m.Note(envelope.Note{Time: listedAt, Attempt: 1, Err: "connection refused", Next: listedAt.Add(5 * time.Minute)}))
		must(t, m.Record([]envelope.Key{key(1)}, envelope.Delivered))
		must(t, m.Expand(key(2), envelope.Expansion{Via: envelope.Via{Source: envelope.FromAlias, Name: "list"}, Targets: []envelope.Target{{Path: smtp.Path{Local: "c"}}}}))
		must(t, m.Note(envelope.Note{Time: listedAt.Add(time.Minute), Keys: []envelope.Key{key(0), key(2)}, Attempt: 2, TLS: "TLS 1.3 x",
			Reply: smtp.Reply{Code: 451, Text: "later" + strings.Repeat("r", 2*maxReply)}, Next: listedAt.Add(time.Hour)}))
	})
	m := one(t, q, route.Viewer{All: true}, id)
	if len(m.Recipients) != 4 || len(m.History) != 2 || !slices.Equal(m.History[1].For, []control.Range{{0, 0}, {2, 2}}) || len(m.History[0].For) != 0 {
		t.Fatalf("%+v", m)
	}
	if !m.RequireTLS {
		t.Error("REQUIRETLS is not told")
	}
	if m := one(t, q, route.Viewer{UID: 1}, id); !m.Private || m.RequireTLS {
		t.Errorf("others are shown %+v", m)
	}
	if got := m.Recipients[0]; got.Attempts != 2 || !strings.HasPrefix(got.Reply, "451 later") || len(got.Reply) > maxReply+3 || got.TLS != "TLS 1.3 x" || !got.Next.Equal(listedAt.Add(time.Hour)) {
		t.Errorf("pending recipient: %+v", got)
	}
	if got := m.Recipients[1]; got.State != "delivered" || !got.Next.IsZero() || got.Attempts != 1 {
		t.Errorf("delivered recipient: %+v", got)
	}
	if m.Recipients[2].State != "expanded" {
		t.Errorf("%+v", m.Recipients[2])
	}
	for m, err := range control.Messages(Listing{Queue: q, Viewer: route.Viewer{All: true}}.All()) {
		if err != nil || len(m.Recipients) != 3 || m.History != nil {
			t.Errorf("in a list an expanded one is shown by what it stands for, and no history: %+v, %v", m, err)
		}
	}
}

// TestQueueViewOwn: of a message that somebody else has submitted a user is shown
// its ID, size, age and state, and of their own who gets it, but not who stands in
// another user's .forward, nor what was said there.
func TestQueueViewOwn(t *testing.T) {
	q, _ := newQueue(t)
	id := queued(t, q, "joe[uid 1000]", rcpts("bob", "carol"), func(m *spool.Message) {
		key := envelope.Key{}
		must(t, m.Expand(key, envelope.Expansion{Via: envelope.Via{Source: envelope.FromForward, Name: "bob"}, Targets: []envelope.Target{{Path: smtp.Path{Local: "secret", Domain: "x.example"}}}}))
		secret := envelope.Key{Block: 1}
		must(t, m.Note(envelope.Note{Time: listedAt, Keys: []envelope.Key{secret, {Index: 1}}, Attempt: 1, Relay: "mx.secret", TLS: "secret",
			Reply: smtp.Reply{Code: 451, Status: "4.7.1", Text: "secret"}, Err: "secret", Next: listedAt.Add(time.Hour)}))
	})
	for _, tt := range []struct {
		who  string
		v    route.Viewer
		want string
	}{
		{"another user", route.Viewer{UID: 1001, User: "amy"}, `true "" [] 0`},
		{"nobody of this machine", route.Viewer{UID: -1}, `true "" [] 0`},
		{"submitter", route.Viewer{UID: 1000, User: "joe"}, `false "from" [carol@x.example mx.secret 451 4.7.1 secret; recipient of .forward of bob  451 4.7.1] 2`},
		{"root", route.Viewer{UID: 0, User: "root", All: true}, `false "from" [carol@x.example mx.secret 451 4.7.1 secret; secret@x.example mx.secret 451 4.7.1 secret] 1`},
	} {
		m := one(t, q, tt.v, id)
		var said []string
		for _, r := range m.Recipients {
			if r.State != "expanded" {
				said = append(said, strings.Join([]string{r.Address, r.Relay, r.Reply}, " "))
			}
		}
		got := fmt.Sprintf("%v %q [%s] %d", m.Private, m.Sender, strings.Join(said, "; "), len(m.History))
		if got != tt.want || m.ID != string(id) || m.Size == 0 || !m.Arrived.Equal(listedAt) || m.State != control.Active {
			t.Errorf("%s is shown\n%s of %+v, want\n%s", tt.who, got, m, tt.want)
		}
		for _, n := range m.History { // carol is number 1
			if hidden := tt.who == "submitter" && !n.Speaks(1); hidden != (n.Relay == "") || hidden && strings.Contains(fmt.Sprint(n), "secret") {
				t.Errorf("%s is told %+v", tt.who, n)
			}
		}
	}
}

// TestQueueViewReasons: why a message is held or damaged is not told to others.
func TestQueueViewReasons(t *testing.T) {
	q, dir := newQueue(t)
	queued(t, q, "joe[uid 1000]", rcpts("bob"), func(m *spool.Message) { must(t, m.Hold("secret")) })
	must(t, os.WriteFile(filepath.Join(dir, "corrupt", "HOH41WQIF40R65"), []byte("secret\n"), 0o600))
	for uid, want := range map[int]int{0: 2, 1000: 1, 1001: 0} {
		n, told := 0, 0
		for m, err := range control.Messages(Listing{Queue: q, Viewer: route.Viewer{UID: uid, All: uid == 0}}.All()) {
			must(t, err)
			n++
			if m.Reason != "" {
				told++
			}
		}
		if n != 2 || told != want {
			t.Errorf("uid %d is shown %d messages and %d reasons, want 2 and %d", uid, n, told, want)
		}
	}
}

// TestA74Mailq: whatever servers have said to whomever, eight users' questions and
// one of root's in work take less than 50 MB. Each is stopped where it holds most,
// in the middle of the history.
func TestA74Mailq(t *testing.T) {
	reply := func(i int) smtp.Reply {
		return smtp.Reply{Code: 451, Text: fmt.Sprintf("%05d", i) + strings.Repeat("x", 4000)}
	}
	for _, tt := range []struct {
		name  string
		rcpts int
		local int // octets of each local part
		notes func(m *spool.Message)
	}{
		{"1,000 recipients, each with 8 replies of 4 KB", 1000, 10, func(m *spool.Message) {
			for i := range 7900 { // all that a message has room for
				must(t, m.Note(envelope.Note{Time: listedAt, Keys: []envelope.Key{{Index: i % 1000}}, Attempt: 1 + i/1000, Relay: "mx", Reply: reply(i)}))
			}
		}},
		{"100,000 recipients with one reply", envelope.MaxRecipients, 64, func(m *spool.Message) {
			keys := make([]envelope.Key, envelope.MaxRecipients)
			for i := range keys {
				keys[i].Index = i
			}
			for i := range 4 {
				must(t, m.Note(envelope.Note{Time: listedAt, Keys: keys, Attempt: 1 + i, Relay: "mx", Reply: reply(i)}))
			}
		}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			q, _ := newQueue(t)
			to := make([]smtp.Recipient, tt.rcpts)
			for i := range to {
				to[i].Path = smtp.Path{Local: fmt.Sprintf("%0*d", tt.local, i), Domain: "x.example"}
			}
			id := queued(t, q, "joe[uid 1000]", to, tt.notes)
			to = nil
			before := heap()
			for range 9 {
				next, stop := iter.Pull2(Listing{Queue: q, Viewer: route.Viewer{UID: 1000}}.One(id))
				defer stop()
				for n := 0; n < 4; {
					p, err, ok := next()
					if err != nil || !ok {
						t.Fatalf("the history ends after %d notes: %v", n, err)
					}
					n += len(p.History)
				}
			}
			if grown := heap() - before; grown >= 50<<20 {
				t.Errorf("9 questions take %d MB, want less than 50", grown>>20)
			} else {
				t.Logf("9 questions take %d KB", grown>>10)
			}
		})
	}
}

// heap is how much memory is in use.
func heap() int64 {
	var s runtime.MemStats
	runtime.GC()
	runtime.GC() // what a pool keeps goes with the second one
	runtime.ReadMemStats(&s)
	return int64(s.HeapAlloc)
}

// TestA74LongQueue: a queue of more messages than are sorted at once is listed whole
// and in the order of arrival, with names of 10,000 in memory.
func TestA74LongQueue(t *testing.T) {
	q, dir := newQueue(t)
	const n = 2*maxNames + 500
	want := make([]string, n)
	for i := range want {
		want[i] = fmt.Sprintf("HOH4%010d", (i*7919)%n)
		must(t, os.WriteFile(filepath.Join(dir, "queue", want[i]), nil, 0o600))
	}
	slices.Sort(want)
	l := Listing{Queue: q, Viewer: route.Viewer{All: true}}
	var got []string
	for m, err := range control.Messages(l.All()) {
		must(t, err)
		got = append(got, m.ID)
	}
	if !slices.Equal(got, want) {
		t.Errorf("%d messages are listed, want %d in their order", len(got), n)
	}
	if ids, err := l.next(""); err != nil || len(ids) != maxNames || cap(ids) > 4*maxNames {
		t.Errorf("%d names in memory, room for %d, %v", len(ids), cap(ids), err)
	}
}

// TestNoMessage: an ID that is nowhere is told as that.
func TestNoMessage(t *testing.T) {
	q, _ := newQueue(t)
	for _, err := range (Listing{Queue: q}).One("HOH41WQIF40R65") {
		if e := (*control.Error)(nil); !errors.As(err, &e) || e.Code != 69 {
			t.Errorf("%v", err)
		}
	}
}

// A failure that the reply names already isn't told twice.
func TestWords(t *testing.T) {
	reply := smtp.Reply{Code: 450, Status: "4.3.0", Text: "program ended with exit code 75"}
	for _, tt := range []struct{ err, want string }{
		{"", "450 4.3.0 program ended with exit code 75"},
		{"program ended with exit code 75", "450 4.3.0 program ended with exit code 75"},
		{"no space", "450 4.3.0 program ended with exit code 75 (no space)"},
	} {
		if got := words(envelope.Note{Reply: reply, Err: tt.err}); got != tt.want {
			t.Errorf("%q, want %q", got, tt.want)
		}
	}
}

package deliver

import (
	"errors"
	"fmt"
	"maps"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"

	"postoffice/internal/smtp"
	"postoffice/internal/testenv"
	"postoffice/spool"
)

// A maze is a random world of aliases, .forward files, lists and usermap.
type maze struct {
	aliases, forwards, members, personal map[string]string
	broken                               map[string]error
}

const mazeUsers, mazeAliases = 6, 7

// maker makes the words of a maze.
type maker struct{ *rand.Rand }

// some is a list of one to most words.
func (m maker) some(most int, word func() string) string {
	var all []string
	for range 1 + m.IntN(most) {
		all = append(all, word())
	}
	return strings.Join(all, ", ")
}

func (m maker) address() string {
	switch m.IntN(12) {
	case 0:
		return fmt.Sprintf("far%d@[192.0.2.%d]", m.IntN(3), 1+m.IntN(2))
	case 1:
		return fmt.Sprintf("\\u%d", m.IntN(mazeUsers))
	case 2:
		return fmt.Sprintf("u%d+x", m.IntN(mazeUsers))
	case 3:
		return fmt.Sprintf("u%d-m%d", m.IntN(mazeUsers), m.IntN(3))
	case 4, 5, 6:
		return fmt.Sprintf("U%d@also.example", m.IntN(mazeUsers))
	case 7:
		return "nobody-here"
	}
	return fmt.Sprintf("a%d", m.IntN(mazeAliases))
}

func (m maker) item() string {
	switch m.IntN(8) {
	case 0:
		return fmt.Sprintf("\"|prog%d\"", m.IntN(3))
	case 1:
		return fmt.Sprintf("/file%d", m.IntN(3))
	}
	return m.address()
}

func newMaze(rnd *rand.Rand) *maze {
	m, random := &maze{map[string]string{}, map[string]string{}, map[string]string{}, map[string]string{}, map[string]error{}}, maker{rnd}
	for i := range mazeAliases {
		if rnd.IntN(4) > 0 {
			m.aliases[fmt.Sprintf("a%d", i)] = random.some(3, random.item)
		}
		if rnd.IntN(5) == 0 {
			m.aliases[fmt.Sprintf("owner-a%d", i)] = "u0"
		}
	}
	list := fmt.Sprintf("a%d", rnd.IntN(mazeAliases))
	m.aliases[list] = ":include:/l, " + random.some(2, random.item)
	m.members[list] = random.some(4, random.address)
	if rnd.IntN(6) == 0 {
		m.members[list] = random.some(2, random.item)
	}
	for i := range mazeUsers {
		m.addUser(random, i)
	}
	return m
}

// addUser gives a user a .forward, an alias of his name, names of his own.
func (m *maze) addUser(random maker, i int) {
	user := fmt.Sprintf("u%d", i)
	switch random.IntN(5) {
	case 0, 1:
		m.forwards[user] = random.some(3, random.item)
	case 2:
		m.forwards[user+"+x"] = random.some(2, random.item)
	case 3:
		if m.aliases[user] = random.some(2, random.address); random.IntN(2) == 0 {
			m.aliases[user] += ", " + user
		}
	}
	if random.IntN(3) == 0 {
		m.personal[fmt.Sprintf("u%d-m%d", i, random.IntN(3))] = random.some(2, random.item)
	}
	if random.IntN(12) == 0 {
		m.broken[user] = errors.New("can't be read")
	}
}

// put makes a rig of the maze.
func (m *maze) put(r *rig) {
	r.o.Delimiter, r.o.Usermap = "+", []string{"~-m*:~/.alias"}
	r.users.names = []string{"root"}
	for i := range mazeUsers {
		r.users.names = append(r.users.names, fmt.Sprintf("u%d", i))
	}
	var text strings.Builder
	for _, name := range slices.Sorted(maps.Keys(m.aliases)) {
		fmt.Fprintf(&text, "%s: %s\n", name, m.aliases[name])
	}
	r.alias(text.String())
	r.mailer.forwards, r.mailer.members, r.mailer.personal, r.mailer.broken = m.forwards, m.members, m.personal, m.broken
}

// ends are where the real run takes a message: what was given away, and what
// failed or waits, each with the reverse-path for its failures.
func (r *rig) ends(id spool.ID, sinks ...*testenv.Sink) map[string]bool {
	ends := map[string]bool{}
	for user, texts := range r.mailer.boxes {
		for range texts {
			if ends["mailbox "+user] {
				r.t.Errorf("%s got it twice", user)
			}
			ends["mailbox "+user] = true
		}
	}
	for _, job := range r.mailer.jobs() {
		if ends["item "+job] {
			r.t.Errorf("%s ran twice", job)
		}
		ends["item "+job] = true
	}
	for _, s := range sinks {
		for _, m := range s.Messages() {
			for _, to := range m.To() {
				ends["remote "+to+" from "+m.From()] = true
			}
		}
	}
	s := r.snapshot(id)
	for _, rc := range s.Recipients {
		if rc.State == spool.Pending {
			ends["failure "+leaf(rc.Target)+" from "+rc.ReversePath.String()] = true
		}
	}
	return ends
}

// leaf names a recipient that failed.
func leaf(t spool.Target) string {
	switch t.Kind {
	case spool.Program:
		return fmt.Sprintf("%s %s %x", t.Agent.Source, t.Agent.Name, t.Agent.Hash[:4])
	case spool.Mailbox:
		return "\\" + t.Path.Local
	}
	return t.Path.String()
}

// foretold are the ends that the dry run says, and whether a list was met twice.
func foretold(r *Router, t *testing.T, to, from smtp.Path) (ends map[string]bool, again bool) {
	ends = map[string]bool{}
	for s := range r.DryRun(t.Context(), to, from) {
		again = again || s.Again
		switch s.How {
		case RouteMailbox:
			ends["mailbox "+s.User] = true
		case RouteProgram, RouteFile:
			ends[fmt.Sprintf("item %s: %s %s %.8s", s.User, s.Source, s.Name, s.Hash)] = true
		case RouteRemote:
			ends["remote "+s.Recipient+" from "+s.Sender] = true
		case RouteFailure:
			name := s.Recipient
			if s.Hash != "" {
				name = fmt.Sprintf("%s %s %.8s", s.Source, s.Name, s.Hash)
			}
			ends["failure "+name+" from "+s.Sender] = true
		}
	}
	return ends, again
}

// The dry run and the real run agree, in 300 random worlds: in what they give
// away, with whose rights and reverse-path, and in what fails.
func TestDryRunAgrees(t *testing.T) {
	for seed := range uint64(300) {
		rnd := rand.New(rand.NewPCG(seed, 5))
		m := newMaze(rnd)
		r := newRig(t)
		m.put(r)
		sinks := []*testenv.Sink{r.peer("192.0.2.1", &testenv.Sink{}), r.peer("192.0.2.2", &testenv.Sink{})}
		from := "s@x.example"
		if rnd.IntN(4) == 0 {
			from = ""
		}
		to := []string{fmt.Sprintf("a%d", rnd.IntN(mazeAliases)), fmt.Sprintf("u%d", rnd.IntN(mazeUsers)), fmt.Sprintf("u%d-m%d", rnd.IntN(mazeUsers), rnd.IntN(3))}[rnd.IntN(3)]
		want, again := foretold(NewRouter(r.o), t, path(t, to), path(t, from))
		id := r.mail(from, to, "nobody-keeps-it")
		r.full.Store(true) // no report can be queued, so that what is refused stays and can be looked at
		r.pass()
		got := r.ends(id, sinks...)
		delete(got, "failure nobody-keeps-it from "+from)
		if again { // where a circle leads through it, the way that is gone first decides where it ends
			for _, ends := range []map[string]bool{got, want} {
				maps.DeleteFunc(ends, func(end string, _ bool) bool {
					return strings.HasPrefix(end, "mailbox ") || strings.HasPrefix(end, "failure ")
				})
			}
		}
		if !maps.Equal(got, want) {
			t.Errorf("seed %d: to %s from %s in %+v\nreal: %q\ndry:  %q\nlog:\n%s", seed, to, from, m,
				slices.Sorted(maps.Keys(got)), slices.Sorted(maps.Keys(want)), r.log)
			return
		}
	}
}

// A25: what a user wrote can't drive the terminal of whoever asks.
func TestA25DryRun(t *testing.T) {
	r := newRig(t)
	r.mailer.forwards = map[string]string{"alice": "\"|/bin/x \xc3\xa4\"\nb\xff@x.example\n", "bob": "x"}
	r.mailer.broken = map[string]error{"bob": errors.New("/home/bob/\x1b[2J\nx: no")}
	for _, user := range []string{"alice", "bob"} {
		for s := range NewRouter(r.o).DryRun(t.Context(), smtp.Path{Local: user}, smtp.Path{}) {
			if text := fmt.Sprint(s); strings.ContainsFunc(text, func(c rune) bool { return c < ' ' || c > '~' }) {
				t.Errorf("%q", text)
			}
		}
	}
}

// A mailbox step says which way the message would go.
func TestDryRunWay(t *testing.T) {
	for _, tt := range []struct{ mailbox, mailer, user, want string }{
		{"", "", "alice", ""}, {"~/Maildir/", "", "alice", "~/Maildir/"}, {"lmtp:/s", "", "alice", "lmtp:/s"},
		{"~/Maildir/", "/bin/procmail", "alice", "mailer"}, {"~/Maildir/", "/bin/procmail", "root", "~/Maildir/"},
	} {
		r := newRig(t)
		r.o.Mailbox, r.o.Mailer = tt.mailbox, tt.mailer
		for s := range NewRouter(r.o).DryRun(t.Context(), smtp.Path{Local: tt.user}, smtp.Path{}) {
			if s.Way != tt.want {
				t.Errorf("%+v: %q", tt, s.Way)
			}
		}
	}
}

// It ends when nobody wants more, and shows the whole way of an address.
func TestDryRun(t *testing.T) {
	r := newRig(t)
	r.alias("team: alice, :include:/l, \"|x\", /f\nowner-team: carol\n")
	r.mailer.members = map[string]string{"team": "bob\nv@[192.0.2.1]\nv@[127.0.0.1]\ngone\n"}
	r.mailer.forwards = map[string]string{"bob": "\\bob"}
	var got []string
	for s := range NewRouter(r.o).DryRun(t.Context(), smtp.Path{Local: "team"}, path(t, "s@x.example")) {
		line := fmt.Sprintf("%d %s: %s", s.Depth, s.Recipient, s.How)
		if s.File != "" {
			line += fmt.Sprintf(" (%s:%d)", strings.Replace(s.File, r.aliases, "aliases", 1), s.Line)
		}
		if s.User != "" {
			line += fmt.Sprintf(" %s %d", s.User, s.UID)
		}
		for _, h := range s.Hosts {
			line += fmt.Sprintf(" %s:%d %v", h.Name, h.Port, h.Addrs)
		}
		if s.Status != "" {
			line += " " + s.Status
		}
		got = append(got, line+" from "+s.Sender)
	}
	want := []string{
		"0 team: alias from s@x.example",
		"1 alice: mailbox (aliases:1) alice 1000 from owner-team@us.example",
		"1 :include:/l: list (aliases:1) from owner-team@us.example",
		"2 bob: forward (/lists/team:1) from owner-team@us.example",
		"3 \\bob: mailbox (/home/bob/.forward:1) bob 1000 from owner-team@us.example",
		"2 v@[192.0.2.1]: remote (/lists/team:2) [192.0.2.1]:25 [192.0.2.1] from owner-team@us.example",
		"2 v@[127.0.0.1]: failure (/lists/team:3) 5.1.1 from owner-team@us.example",
		"2 gone: failure (/lists/team:4) 5.1.1 from owner-team@us.example",
		"1 \"|x\": program (aliases:1) nobody -1 from owner-team@us.example",
		"1 /f: file (aliases:1) nobody -1 from owner-team@us.example",
	}
	if !slices.Equal(got, want) {
		t.Errorf("got:\n%s\nwant:\n%s", strings.Join(got, "\n"), strings.Join(want, "\n"))
	}
	for range NewRouter(r.o).DryRun(t.Context(), smtp.Path{Local: "team"}, smtp.Path{}) {
		break
	}
}

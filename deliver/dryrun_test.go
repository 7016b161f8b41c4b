package deliver

import (
	"errors"
	"fmt"
	"maps"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"

	"postoffice/deliver/route"
	"postoffice/internal/smtp"
	"postoffice/internal/testenv"
	"postoffice/spool"
	"postoffice/spool/envelope"
)

// A maze is a random world of aliases, .forward files, lists and usermap, beside a virtual
// domain.
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
	switch m.IntN(14) {
	case 12:
		return []string{"bob", "BOB+x", "Carol", "nobody"}[m.IntN(4)] + "@v.example"
	case 13:
		return "info@V.example"
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

// addUser gives a user a .forward, an alias of that name, names of their own.
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
	r.o.Virtual = virtuals{}
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
		if rc.State == envelope.Pending {
			ends["failure "+leaf(rc.Target)+" from "+rc.ReversePath.String()] = true
		}
	}
	return ends
}

// leaf names a recipient that failed.
func leaf(t envelope.Target) string {
	switch t.Kind {
	case envelope.Program:
		return fmt.Sprintf("%s %s %x", t.Agent.Source, t.Agent.Name, t.Agent.Hash[:4])
	case envelope.Mailbox:
		return "\\" + t.Path.Local
	}
	return t.Path.String()
}

// foretold are the ends that the dry run says, and whether a list was met twice.
func foretold(r *route.Router, t *testing.T, to, from smtp.Path) (ends map[string]bool, again bool) {
	ends = map[string]bool{}
	for s := range r.DryRun(t.Context(), to, from) {
		again = again || s.Again
		switch s.How {
		case route.HowMailbox:
			ends["mailbox "+s.User] = true
		case route.HowProgram, route.HowFile:
			ends[fmt.Sprintf("item %s: %s %s %.8s", s.User, s.Source, s.Name, s.Hash)] = true
		case route.HowRemote:
			ends["remote "+s.Recipient+" from "+s.Sender] = true
		case route.HowFailure:
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
	virtual := 0 // worlds in which it ends in the virtual domain
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
		to := []string{fmt.Sprintf("a%d", rnd.IntN(mazeAliases)), fmt.Sprintf("u%d", rnd.IntN(mazeUsers)), fmt.Sprintf("u%d-m%d", rnd.IntN(mazeUsers), rnd.IntN(3)), "info@v.example"}[rnd.IntN(4)]
		want, again := foretold(r.router(), t, path(t, to), path(t, from))
		id := r.mail(from, to, "nobody-keeps-it")
		r.full.Store(true) // no report can be queued, so that what is refused stays and can be looked at
		r.pass()
		got := r.ends(id, sinks...)
		delete(got, "failure nobody-keeps-it from "+from)
		if got["mailbox bob@v.example"] || got["mailbox Carol@v.example"] {
			virtual++
		}
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
	if virtual < 50 {
		t.Errorf("%d worlds lead into the virtual domain, want 50: the test would not notice what is wrong there", virtual)
	}
}

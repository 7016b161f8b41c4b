package deliver

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"slices"
	"strings"
	"sync"
	"testing"

	"postoffice/deliver/local"
	"postoffice/deliver/outcome"
	"postoffice/internal/alias"
	"postoffice/internal/smtp"
)

// agents is the part of a local.Mailer that has users' files and programs.
type agents struct {
	agentMu  sync.Mutex
	forwards map[string]string            // user, or user+extension, → .forward
	members  map[string]string            // alias → the list that it names
	owners   map[string]*local.OwnerError // alias → who alone may read its list
	personal map[string]string            // local name → its value in a personal alias file
	broken   map[string]error             // what List answers, by the item's name
	ran      []local.Job                  // without their bodies
	bodies   []string
	listed   []local.Listing
	running  func(j local.Job) local.Result // decides instead
}

func (m *agents) Run(_ context.Context, _ string, j local.Job) local.Result {
	body, err := io.ReadAll(j.Body)
	if err != nil {
		return local.Result{Outcome: outcome.Outcome{Err: err}}
	}
	m.agentMu.Lock()
	running := m.running
	j.Body = nil
	m.ran, m.bodies = append(m.ran, j), append(m.bodies, string(body))
	m.agentMu.Unlock()
	if running != nil {
		return running(j)
	}
	return local.Result{Outcome: outcome.Outcome{Action: outcome.Delivered, Reply: smtp.Reply{Code: 250, Status: "2.0.0", Text: "done"}}}
}

// jobs says what has been run: "user: source name hash".
func (m *agents) jobs() []string {
	m.agentMu.Lock()
	defer m.agentMu.Unlock()
	var all []string
	for _, j := range m.ran {
		all = append(all, jobName(j.User, j.Item))
	}
	slices.Sort(all)
	return all
}

func jobName(user string, it local.Item) string {
	return fmt.Sprintf("%s: %s %s %x", user, it.Source, it.Name, it.Hash[:4])
}

// itemName is jobName for an item by its text.
func itemName(t testing.TB, user string, source local.Source, name, text string) string {
	t.Helper()
	return jobName(user, local.Item{Source: source, Name: name, Hash: itemHash(t, text)})
}

func itemHash(t testing.TB, text string) alias.Hash {
	t.Helper()
	targets, err := alias.ParseValue(text)
	if err != nil {
		t.Fatal(err)
	}
	return targets[0].Hash()
}

// forward is the text of the .forward that counts, and its name.
func (m *agents) forward(user, extension string) (text, file string, ok bool) {
	m.agentMu.Lock()
	defer m.agentMu.Unlock()
	if text, ok = m.forwards[user+"+"+extension]; ok && extension != "" {
		return text, "/home/" + user + "/.forward+" + extension, true
	}
	text, ok = m.forwards[user]
	return text, "/home/" + user + "/.forward", ok
}

func (m *agents) Forwards(_ context.Context, user, extension string) (bool, error) {
	_, _, ok := m.forward(user, extension)
	return ok, nil
}

func (m *agents) List(_ context.Context, g local.Listing) ([]local.Line, error) {
	m.agentMu.Lock()
	m.listed = append(m.listed, g)
	text, file, owner, err := "", "", m.owners[g.Item.Name], m.broken[g.Item.Name]
	switch g.Item.Source {
	case local.FromAlias:
		text, file = m.members[g.Item.Name], "/lists/"+g.Item.Name
	case local.FromUsermap:
		text, file = m.personal[g.Item.Name], "/home/"+g.User+"/.alias"
	}
	m.agentMu.Unlock()
	if g.Item.Source == local.FromForward {
		text, file, _ = m.forward(g.Item.Name, g.Extension)
	}
	switch {
	case err != nil:
		return nil, err
	case owner != nil && g.Item.Source == local.FromAlias && owner.User != g.User:
		return nil, owner
	case g.Item.Source == local.FromForward && g.User != g.Item.Name:
		return nil, errors.New("a .forward read by another user")
	}
	items, err := alias.ParseList(strings.NewReader(text), 100000)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", file, err)
	}
	lines := make([]local.Line, len(items))
	for i, it := range items {
		lines[i] = local.Line{Target: it.Target, File: file, Line: it.Line}
	}
	return lines, nil
}

func readFile(t testing.TB, name string) []byte {
	t.Helper()
	b, err := os.ReadFile(name)
	if err != nil {
		t.Fatal(err)
	}
	return b
}

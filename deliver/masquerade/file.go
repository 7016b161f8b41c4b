package masquerade

import (
	"context"
	"fmt"
	"log/slog"
	"strings"

	"postoffice/internal/maillog"
	"postoffice/internal/smtp"
)

const (
	maxFile  = 4 << 20 // octets of the file
	maxLines = 100     // that are told of one reading
)

// table has the lines of the file: by whole address, by name, and by domain behind an @.
type table map[string]smtp.Path

// find returns what stands for a sender: its address first, then, of this machine's own,
// its name, then its domain, of which the name stays.
func (t table) find(p smtp.Path, own bool) (smtp.Path, bool) {
	if to, ok := t[key(p.Local, p.Domain)]; ok {
		return to, true
	}
	if to, ok := t[key(p.Local, "")]; ok && own {
		return to, true
	}
	if to, ok := t["@"+smtp.Fold(p.Domain)]; ok && p.Domain != "" {
		if to.Local == "" {
			to.Local = p.Local
		}
		return to, true
	}
	return p, false
}

// key is an address as the table has it: names are not told apart by case, as those of
// accounts are not in aliases.
func key(local, domain string) string {
	if domain == "" {
		return smtp.Fold(local)
	}
	return smtp.Fold(local + "@" + domain)
}

// parse reads the file: two words a line, the second of which stands for the first.
func parse(text string, tell func(line int, what string)) table {
	t := table{}
	wrong := 0
	for i, line := range strings.Split(text, "\n") {
		if line = strings.TrimSpace(line); line == "" || line[0] == '#' {
			continue
		}
		from, to, err := readLine(strings.Fields(line))
		switch {
		case err == nil:
			if _, double := t[from]; !double { // the first one counts
				t[from] = to
			}
		case wrong < maxLines:
			wrong++
			tell(i+1, err.Error())
		}
	}
	return t
}

// readLine reads one line's words.
func readLine(words []string) (from string, to smtp.Path, err error) {
	if len(words) != 2 {
		return "", to, fmt.Errorf("want an address and the one that stands for it, got %d words", len(words))
	}
	domain, whole := strings.CutPrefix(words[0], "@")
	if whole {
		name, ok := smtp.CheckHost(domain)
		if !ok {
			return "", to, fmt.Errorf("%.80q: want @ and a domain", words[0])
		}
		from = "@" + smtp.Fold(name)
		if domain, whole = strings.CutPrefix(words[1], "@"); whole {
			if to.Domain, ok = smtp.CheckHost(domain); !ok {
				return "", to, fmt.Errorf("%.80q: want @ and a domain", words[1])
			}
			return from, to, nil
		}
	} else {
		p, err := smtp.ParseWritten(words[0])
		if err != nil || p.IsNull() {
			return "", to, fmt.Errorf("%.80q: want a user, an address, or @ and a domain", words[0])
		}
		from = key(p.Local, p.Domain)
	}
	to, err = smtp.ParseWritten(words[1])
	if err != nil || to.Domain == "" {
		return "", to, fmt.Errorf("%.80q: want an address with its domain", words[1])
	}
	return from, to, nil
}

// tell writes what is wrong with a line of the file, or with line 0 of it as a whole.
func (n *Names) tell(line int, what string) {
	where := n.o.File
	if line > 0 {
		where = fmt.Sprintf("%s:%d", where, line)
	}
	n.o.Log.LogAttrs(context.Background(), slog.LevelWarn, "sender-map has an odd line", maillog.File(where), maillog.Reason(what))
}

package routes

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"strings"

	"postoffice/internal/maillog"
	"postoffice/internal/smarthost"
	"postoffice/internal/smtp"
)

const (
	maxFile  = 4 << 20 // octets of the file
	maxWrong = 100     // lines that are told of one reading
	maxWords = 400     // octets of what an error line says
)

// parse reads the file: who or what, and where to. Of two lines with the same key the
// first one counts.
func parse(text string, tell func(line int, what string)) lines {
	l := lines{}
	wrong := 0
	for i, line := range strings.Split(text, "\n") {
		if line = strings.TrimSpace(line); line == "" || line[0] == '#' {
			continue
		}
		key, w, err := readLine(line)
		switch {
		case err == nil:
			if _, double := l[key]; !double {
				w.Line = i + 1
				l[key] = w
			}
		case wrong < maxWrong:
			wrong++
			tell(i+1, err.Error())
		}
	}
	return l
}

// readLine reads one line.
func readLine(line string) (key string, w Way, err error) {
	i := strings.IndexAny(line, " \t")
	if i < 0 {
		return "", w, fmt.Errorf("%.80q: want where to behind it: a host, local, or error and words", line)
	}
	to := strings.TrimLeft(line[i:], " \t")
	if key, err = readKey(line[:i]); err != nil {
		return "", w, err
	}
	switch word, words, _ := strings.Cut(to, " "); {
	case smtp.EqualFold(word, "error"):
		words = strings.TrimSpace(words)
		if words == "" || len(words) > maxWords {
			return "", w, fmt.Errorf("want up to %d octets of words behind error, for who sent it", maxWords)
		}
		return key, Way{Error: smtp.Printable(words, maxWords)}, nil
	case smtp.EqualFold(to, "local"):
		if key == all || strings.HasPrefix(key, fromKey) {
			return "", w, errors.New("local goes with a domain alone")
		}
		return key, Way{Local: true}, nil
	}
	w.Host, err = smarthost.Parse(to)
	return key, w, err
}

// readKey reads what a line is for.
func readKey(word string) (string, error) {
	if word == all {
		return all, nil
	}
	if n := len(fromKey); len(word) > n && smtp.EqualFold(word[:n], fromKey) {
		return readSender(word[n:])
	}
	name, dotted := strings.CutPrefix(word, ".")
	if a, ok := smtp.ParseLiteral(name); ok && !dotted {
		return smtp.DomainKey(smtp.FormatLiteral(a)), nil
	}
	name, ok := smtp.CheckHost(name)
	if !ok {
		return "", fmt.Errorf("%.80q: want a domain, . and a domain, from: and an address, or *", word)
	}
	if dotted {
		return "." + smtp.DomainKey(name), nil
	}
	return smtp.DomainKey(name), nil
}

// readSender reads what stands behind from:.
func readSender(word string) (string, error) {
	if word == "<>" {
		return fromKey, nil
	}
	if domain, ok := strings.CutPrefix(word, "@"); ok {
		name, ok := smtp.CheckHost(domain)
		if !ok {
			return "", fmt.Errorf("%.80q: want @ and a domain", word)
		}
		return fromKey + "@" + smtp.Fold(name), nil
	}
	p, err := smtp.ParseWritten(word)
	if err != nil || p.Domain == "" {
		return "", fmt.Errorf("%.80q: want an address with its domain, @ and a domain, or <>", word)
	}
	return fromKey + smtp.Fold(p.String()), nil
}

// tell writes what is wrong with a line of the file, or with line 0 of it as a whole.
func (t *Table) tell(line int, what string) {
	where := t.file.Path
	if line > 0 {
		where = fmt.Sprintf("%s:%d", where, line)
	}
	t.log.LogAttrs(context.Background(), slog.LevelWarn, "routes has an odd line", maillog.File(where), maillog.Reason(what))
}

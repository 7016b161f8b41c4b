package alias

import (
	"fmt"
	"io"
	"strings"
)

// A ListItem is one target of a list and the line where it stands.
type ListItem struct {
	Target
	Line int // counted from 1
}

// ParseList reads a list of targets, which is what a .forward and a file named
// by :include: hold: in each line what may stand behind the colon of an alias;
// empty lines and those that begin with "#" don't count. The first line that
// can't be understood, or more than most targets, is a *SyntaxError.
func ParseList(r io.Reader, most int) ([]ListItem, error) {
	var items []ListItem
	in := withoutMark(r)
	for n := 1; ; n++ {
		line, err := in.ReadString('\n')
		if err != nil && err != io.EOF {
			return nil, err
		}
		targets, bad := parseListLine(line)
		if bad == nil && len(items)+len(targets) > most {
			bad = fmt.Errorf("more than %d targets", most)
		}
		if bad != nil {
			return nil, &SyntaxError{Line: n, Err: bad}
		}
		for _, t := range targets {
			items = append(items, ListItem{t, n})
		}
		if err == io.EOF {
			return items, nil
		}
	}
}

func parseListLine(line string) ([]Target, error) {
	line = strings.Trim(strings.TrimRight(line, "\r\n"), " \t")
	if line == "" || line[0] == '#' {
		return nil, nil
	}
	return ParseValue(line)
}

package config

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"

	"postoffice/internal/smtp"
)

const (
	maxFile = 1 << 20 // of postoffice.cf, in octets
	maxLine = 8 << 10 // of one line of it
)

const pageHint = "postoffice.cf(5) says what each option takes"

// loader is one run of Load.
type loader struct {
	conf *Config
	errs Errors
	seen []string // where this source set each option first, by its place in the table
	as   []string // the name by which it did so last
}

// newLoader begins with the defaults.
func newLoader() *loader {
	l := &loader{conf: &Config{origins: make([]string, len(options))}}
	for i, o := range options {
		if err := o.bind(l.conf).set(o.def); err != nil {
			panic("config: default of " + o.name + ": " + err.Error())
		}
		l.conf.origins[i] = "default"
	}
	return l
}

func load(o Options) (*Config, error) {
	l := newLoader()
	l.begin()
	l.file(o)
	l.begin()
	for _, set := range o.Sets {
		l.flag(set, o.UID)
	}
	l.mailName()
	if len(l.errs) > 0 {
		return l.conf, l.errs
	}
	return l.conf, nil
}

// begin starts a source: what it says about a list replaces what earlier
// sources said.
func (l *loader) begin() { l.seen, l.as = make([]string, len(options)), make([]string, len(options)) }

func (l *loader) fail(kind error, where, hint, format string, args ...any) {
	l.errs = append(l.errs, &Error{Kind: kind, Where: where, Text: fmt.Sprintf(format, args...), Hint: hint})
}

// note keeps what is told of the file, and is no error.
func (l *loader) note(where, text string) { l.conf.notes = append(l.conf.notes, where+": "+text) }

// failIn is fail for what is wrong with an option.
func (l *loader) failIn(option, where, hint, format string, args ...any) {
	l.fail(ErrBad, where, hint, format, args...)
	l.errs[len(l.errs)-1].Option = option
}

// file reads the file that o asks for.
func (l *loader) file(o Options) {
	name, open := o.File, openNamed
	if name == "" {
		name, open = DefaultFile, openDefault
	}
	f, err := open(name, o.UID)
	switch {
	case o.File == "" && errors.Is(err, os.ErrNotExist):
		return // no file: the defaults
	case err != nil:
		l.errs = append(l.errs, err.(*Error))
		return
	case f == nil:
		return
	}
	defer f.Close()
	if info, err := f.Stat(); err == nil && o.File == "" {
		if text := forFew(name, info.Mode()); text != "" {
			l.note(name, text)
		}
	}
	data, err := io.ReadAll(io.LimitReader(f, maxFile+1))
	if err != nil {
		l.fail(unreadable(err), name, "", "%v", reason(err))
		return
	}
	l.parse(name, data)
}

// parse reads the text of a file.
func (l *loader) parse(name string, data []byte) {
	if len(data) > maxFile {
		l.fail(ErrBad, name, "", "the file is longer than %d octets", maxFile)
		return
	}
	number := 0
	data = bytes.TrimPrefix(data, []byte("\ufeff")) // which some editors put there
	for line := range bytes.Lines(data) {
		number++
		l.line(name+":"+strconv.Itoa(number), string(line))
	}
}

// line reads one line of a file: a comment, nothing, or an option.
func (l *loader) line(where, line string) {
	line, _, _ = strings.Cut(line, "#")
	indented := strings.TrimLeft(line, " \t") != line
	if line = strings.TrimSpace(line); indented && line != "" {
		l.note(where, "the line begins with a blank; the first postoffice left such lines out, and today they count")
	}
	switch {
	case line == "":
	case len(line) > maxLine:
		l.fail(ErrBad, where, "repeat the option: repetition adds to a list", "the line is longer than %d octets", maxLine)
	case !printable(line):
		l.fail(ErrBad, where, "", "the line holds a control character")
	default:
		l.set(where, where, line)
	}
}

// flag applies one -o.
func (l *loader) flag(set string, uid int) {
	where := "-o " + set
	if len(set) > maxLine || !printable(set) {
		l.fail(ErrBad, "-o", "", "the setting holds a control character or is too long")
		return
	}
	name, _, _ := cut(set)
	if i := lookup(name); i >= 0 && options[i].who == root && uid != 0 {
		l.fail(ErrNotAllowed, where, "put it into a file of your own and name that with -C",
			"only root may set %s with -o", options[i].name)
		return
	}
	l.set(where, "-o", set)
}

// set applies name or name=value. where is for errors, origin is what the
// value's origin becomes and for files the same.
func (l *loader) set(where, origin, line string) {
	name, text, assigned := cut(line)
	i := lookup(name)
	if i < 0 {
		l.unknown(where, name)
		return
	}
	o := options[i]
	v := o.bind(l.conf)
	switch first := l.seen[i]; {
	case first == "":
		l.seen[i], l.as[i] = origin, name
		v.clear()
	case !v.adds() && origin != "-o" && !smtp.EqualFold(name, l.as[i]):
		l.note(where, name+" and "+l.as[i]+" are two names of one option, and this line counts, not "+first)
		l.as[i] = name
	case !v.adds() && origin != "-o":
		l.failIn(o.name, where, "", "%s: it is set already, see %s", o.name, first)
		return
	}
	switch {
	case assigned && text == "": // name=: back to the default
		v.clear()
		text = o.def
	case !assigned:
		if !isFlag(v) {
			l.failIn(o.name, where, pageHint, "%s: it needs a value, %s=VALUE: %s", o.name, o.name, v.want())
			return
		}
		text = "yes"
	}
	if err := v.set(text); err != nil {
		l.failIn(o.name, where, pageHint, "%s: %v", o.name, err)
		return
	}
	l.conf.origins[i] = origin
}

// unknown reports a name that is no option.
func (l *loader) unknown(where, name string) {
	if near := Nearest(name); near != "" {
		l.failIn(near, where, "", "no option %q; did you mean %s?", name, near)
		return
	}
	l.fail(ErrBad, where, "postoffice.cf(5) lists every option", "no option %q", name)
}

// cut parts name=value.
func cut(line string) (name, text string, assigned bool) {
	name, text, assigned = strings.Cut(line, "=")
	return strings.TrimSpace(name), strings.TrimSpace(text), assigned
}

// printable says whether s has no control characters but tabs.
func printable(s string) bool {
	for i := range len(s) {
		if c := s[i]; c < ' ' && c != '\t' || c == 0x7f {
			return false
		}
	}
	return true
}

// reason is err without the operation and path, which the message has already.
func reason(err error) error {
	if no := syscall.Errno(0); errors.As(err, &no) {
		return no
	}
	return err
}

// mailName puts the name that a file has in the place of the file's, as option
// hostname may name one. Mail must go on where it can't be read.
func (l *loader) mailName() {
	file := l.conf.Hostname
	if !filepath.IsAbs(file) {
		return
	}
	l.conf.Hostname = Auto
	text, err := os.ReadFile(file)
	first, _, _ := strings.Cut(string(text), "\n")
	name := strings.TrimSpace(first)
	if name == "" && err == nil {
		err = errors.New("its first line has no name")
	}
	if err == nil {
		good := false
		if name, good = host(name); !good {
			err = fmt.Errorf("%q is no host name", first)
		}
	}
	if err != nil {
		l.note(l.conf.origins[Index("hostname")], fmt.Sprintf("hostname: it is auto, since %s has no name: %v", file, reason(err)))
		return
	}
	l.conf.Hostname = name
}

package config

import (
	"encoding/json"
	"fmt"
	"strings"

	"postoffice/internal/nearest"
	"postoffice/internal/smtp"
)

// Settings lists every option with its value and where that came from, in the
// order of the table.
func (c *Config) Settings() []Setting {
	all := make([]Setting, len(options))
	for i, o := range options {
		all[i] = Setting{Name: o.name, Value: o.bind(c).String(), Origin: c.origins[i]}
	}
	return all
}

// Located puts in front of what is wrong with an option where that was set, and its name:
// "FILE:LINE: NAME: text".
func (c *Config) Located(name, text string) string {
	if i := Index(name); i < len(c.origins) && c.origins[i] != "default" {
		return c.origins[i] + ": " + name + ": " + text
	}
	return name + ": " + text
}

// Shown lists Settings without those of options that nothing uses.
func (c *Config) Shown() []Setting {
	var some []Setting
	for i, s := range c.Settings() {
		if !options[i].idle {
			some = append(some, s)
		}
	}
	return some
}

// A Note is something about an option that was set, and that is no error.
type Note struct {
	Option string
	Where  string // "FILE:LINE" or "-o"
	Text   string
}

// Missed are the options that were set and that nothing uses: yet, or with greylist=off.
func (c *Config) Missed() []Note {
	return c.about(func(o *option) string {
		if c.Greylist == GreylistOff && o.bind(c).String() != o.def && (o.name == "delay" || strings.HasPrefix(o.name, "greylist-")) {
			return "greylist is off, and nobody is kept waiting: greylist=on has strangers wait"
		}
		return o.miss
	})
}

// Changed are the options that were set otherwise than by default and that were
// something else to the first postoffice.
func (c *Config) Changed() []Note {
	return c.about(func(o *option) string {
		if o.bind(c).String() == o.def {
			return ""
		}
		return o.was
	})
}

func (c *Config) about(text func(o *option) string) []Note {
	var notes []Note
	for i := range options {
		if o := &options[i]; text(o) != "" && c.origins[i] != "default" {
			notes = append(notes, Note{o.name, c.origins[i], text(o)})
		}
	}
	return notes
}

// Named reports whether an option names something else than it does by default: what
// is missing then is missed.
func (c *Config) Named(option string) bool {
	o := &options[lookup(option)]
	return o.bind(c).String() != o.def
}

// Odd is what is to be told of the file's lines, each with its place.
func (c *Config) Odd() []string { return c.notes }

// Reloaded is c as a server takes it that runs with old: options that are read
// at the start alone keep their values. changed names those that c has
// otherwise.
func (c *Config) Reloaded(old *Config) (now *Config, changed []string) {
	all, was := c.Settings(), old.Settings()
	for i, o := range options {
		if o.once && all[i].Value != was[i].Value {
			all[i], changed = was[i], append(changed, o.name)
		}
	}
	now, err := Decode(encode(all))
	if err != nil {
		panic("config: " + err.Error()) // each value has passed its check
	}
	return now, changed
}

// Encode packs the checked configuration for another process, which gets it
// back with Decode: nothing is read or decided twice.
func (c *Config) Encode() []byte { return encode(c.Settings()) }

func encode(all []Setting) []byte {
	data, err := json.Marshal(all)
	if err != nil {
		panic("config: " + err.Error()) // strings alone can't fail
	}
	return data
}

// Decode unpacks what Encode packed. Each value passes its check again, and
// every option must be there.
func Decode(data []byte) (*Config, error) {
	var all []Setting
	if err := json.Unmarshal(data, &all); err != nil {
		return nil, fmt.Errorf("decode the configuration: %w", err)
	}
	if len(all) != len(options) {
		return nil, fmt.Errorf("decode the configuration: %d options, want %d", len(all), len(options))
	}
	c := &Config{origins: make([]string, len(options))}
	for i, s := range all {
		o := options[i]
		if s.Name != o.name {
			return nil, fmt.Errorf("decode the configuration: option %q, want %s", s.Name, o.name)
		}
		if err := o.bind(c).set(s.Value); err != nil {
			return nil, fmt.Errorf("decode the configuration: %s: %w", o.name, err)
		}
		c.origins[i] = s.Origin
	}
	return c, nil
}

// Mdoc is the table as mdoc(7) source, for postoffice.cf(5).
func Mdoc() string {
	var b strings.Builder
	b.WriteString(".Bl -tag -width Ds\n")
	for _, o := range options {
		if o.idle {
			continue
		}
		v := o.bind(&Config{})
		fmt.Fprintf(&b, ".It Cm %s Ns = Ns Ar %s\n", o.name, mdocText(v.want()))
		if o.same != "" {
			fmt.Fprintf(&b, ".It Cm %s Ns = Ns Ar %s\n", o.same, mdocText(v.want()))
		}
		fmt.Fprintf(&b, "%s\n", mdocText(o.doc))
		if v.adds() {
			b.WriteString("Repetition adds to the list.\n")
		}
		switch {
		case o.def == "":
			b.WriteString("Not set by default.\n")
		default:
			fmt.Fprintf(&b, "Default:\n.Ql %s .\n", mdocText(o.def))
		}
		if o.who == anyone {
			b.WriteString("Anyone may give it with\n.Fl o .\n")
		}
	}
	b.WriteString(".El\n")
	return b.String()
}

// MdocOnce is a list of the options that a running server doesn't read again, as
// mdoc(7) source for smtpd(8).
func MdocOnce() string {
	var once []string
	for _, o := range options {
		if o.once && !o.idle {
			once = append(once, o.name)
		}
	}
	var b strings.Builder
	for i, name := range once {
		switch i {
		case len(once) - 1:
			fmt.Fprintf(&b, "and\n.Cm %s\n", name)
		case len(once) - 2:
			fmt.Fprintf(&b, ".Cm %s\n", name)
		default:
			fmt.Fprintf(&b, ".Cm %s ,\n", name)
		}
	}
	return b.String()
}

// mdocText protects what mdoc would take for markup.
func mdocText(s string) string {
	s = strings.ReplaceAll(s, `\`, `\e`)
	if strings.HasPrefix(s, ".") || strings.HasPrefix(s, "'") {
		s = `\&` + s
	}
	return s
}

// lookup finds an option by either name, without regard to case: its place in
// the table, or -1.
func lookup(name string) int {
	for i, o := range options {
		if smtp.EqualFold(name, o.name) || o.same != "" && smtp.EqualFold(name, o.same) {
			return i
		}
	}
	return -1
}

// Index is the place of the option called name in Settings, -1 if there is
// none.
func Index(name string) int { return lookup(name) }

// IsOption says whether name, or name=value, is an option of ours, so that
// sendmail's own -o settings can be told from it.
func IsOption(set string) bool {
	name, _, _ := cut(set)
	return lookup(name) >= 0
}

// Nearest is the option whose name is most like name, "" if none is.
func Nearest(name string) string {
	names := make([]string, 0, len(options))
	for _, o := range options {
		if o.idle {
			continue
		}
		names = append(names, o.name)
		if o.same != "" {
			names = append(names, o.same)
		}
	}
	return nearest.Name(name, names)
}

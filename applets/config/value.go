package config

import (
	"fmt"
	"strconv"
	"strings"
	"time"

	"postoffice/internal/smtp"
)

// value parses the text of one option into its place and prints it again, so
// that the text printed parses to the same value.
type value interface {
	set(text string) error
	clear()       // before the first value of a source, for those that add
	adds() bool   // whether repetition adds
	want() string // what set takes, in words
	String() string
}

// scalar is what values that repetition doesn't add to have in common.
type scalar struct{}

func (scalar) clear()     {}
func (scalar) adds() bool { return false }

// wrong is the error of a value that can't be parsed.
func wrong(v value, got string) error { return fmt.Errorf("want %s, got %q", v.want(), got) }

// textValue is a string that check accepts, in the form check gives it.
type textValue struct {
	scalar
	p     *string
	check func(string) (string, bool)
	words string
}

func text(p *string, check func(string) (string, bool), want string) value {
	return textValue{p: p, check: check, words: want}
}

func (v textValue) want() string   { return v.words }
func (v textValue) String() string { return *v.p }

func (v textValue) set(s string) error {
	if s == "" {
		*v.p = ""
		return nil
	}
	t, ok := v.check(s)
	if !ok {
		return wrong(v, s)
	}
	*v.p = t
	return nil
}

// listValue is a list of such strings, parted by commas or blanks.
type listValue struct {
	p     *[]string
	check func(string) (string, bool)
	words string
}

func list(p *[]string, check func(string) (string, bool), want string) value {
	return listValue{p, check, want}
}

func (v listValue) want() string   { return v.words }
func (v listValue) String() string { return strings.Join(*v.p, ",") }
func (v listValue) clear()         { *v.p = nil }
func (v listValue) adds() bool     { return true }

// items are the words of a list.
func items(s string) []string {
	return strings.FieldsFunc(s, func(r rune) bool { return r == ',' || r == ' ' || r == '\t' })
}

func (v listValue) set(s string) error {
	all := items(s)
	good := make([]string, 0, len(all))
	for _, item := range all {
		t, ok := v.check(item)
		if !ok {
			return wrong(v, item)
		}
		good = append(good, t)
	}
	*v.p = append(*v.p, good...)
	return nil
}

// entriesValue is a list of such strings that may hold commas: blanks part
// them, but not within double quotes, which come off.
type entriesValue struct{ listValue }

func entries(p *[]string, check func(string) (string, bool), want string) value {
	return entriesValue{listValue{p, check, want}}
}

func (v entriesValue) String() string {
	var words []string
	for _, item := range *v.p {
		if strings.ContainsAny(item, " \t\"") {
			item = strconv.Quote(item)
		}
		words = append(words, item)
	}
	return strings.Join(words, " ")
}

func (v entriesValue) set(s string) error {
	var good []string
	for s = strings.TrimLeft(s, " \t"); s != ""; s = strings.TrimLeft(s, " \t") {
		var item string
		if s[0] == '"' {
			quoted, err := strconv.QuotedPrefix(s)
			if err != nil {
				return wrong(v, s)
			}
			if item, err = strconv.Unquote(quoted); err != nil {
				return wrong(v, s)
			}
			s = s[len(quoted):]
		} else {
			item = s
			if i := strings.IndexAny(s, " \t"); i >= 0 {
				item = s[:i]
			}
			s = s[len(item):]
		}
		t, ok := v.check(item)
		if !ok {
			return wrong(v, item)
		}
		good = append(good, t)
	}
	*v.p = append(*v.p, good...)
	return nil
}

// flagValue is a switch.
type flagValue struct {
	scalar
	p *bool
}

func flag(p *bool) value { return flagValue{p: p} }

// isFlag says whether an option means yes where it stands without a value.
func isFlag(v value) bool {
	switch v.(type) {
	case flagValue, flagOrValue, portValue, flagSpan:
		return true
	}
	return false
}

func (v flagValue) want() string { return "yes or no" }

func (v flagValue) String() string {
	if *v.p {
		return "yes"
	}
	return "no"
}

func (v flagValue) set(s string) error {
	switch smtp.Fold(s) {
	case "yes", "on", "true":
		*v.p = true
		return nil
	case "no", "off", "false":
		*v.p = false
		return nil
	}
	n, err := strconv.ParseUint(s, 10, 31)
	if err != nil {
		return wrong(v, s)
	}
	*v.p = n != 0
	return nil
}

// flagOrValue is a switch, yes or no, that has a third position.
type flagOrValue struct {
	scalar
	p     *string
	third string
}

func flagOr(p *string, third string) value { return flagOrValue{p: p, third: third} }

func (v flagOrValue) want() string   { return v.third + ", yes or no" }
func (v flagOrValue) String() string { return *v.p }

func (v flagOrValue) set(s string) error {
	var on bool
	f := flagValue{p: &on}
	switch err := f.set(s); {
	case smtp.EqualFold(s, v.third):
		*v.p = v.third
	case err != nil:
		return wrong(v, s)
	default:
		*v.p = f.String()
	}
	return nil
}

// choiceValue is one of a few words.
type choiceValue struct {
	scalar
	p     *string
	words []string
}

func choice(p *string, words ...string) value { return choiceValue{p: p, words: words} }

func (v choiceValue) want() string   { return strings.Join(v.words, " or ") }
func (v choiceValue) String() string { return *v.p }

func (v choiceValue) set(s string) error {
	for _, w := range v.words {
		if smtp.EqualFold(s, w) {
			*v.p = w
			return nil
		}
	}
	return wrong(v, s)
}

// intValue is a plain number between two bounds.
type intValue struct {
	scalar
	p        *int
	min, max int
}

func integer(p *int, min, max int) value { return intValue{p: p, min: min, max: max} }

func (v intValue) want() string   { return fmt.Sprintf("a number from %d to %d", v.min, v.max) }
func (v intValue) String() string { return strconv.Itoa(*v.p) }

func (v intValue) set(s string) error {
	n, err := strconv.ParseUint(s, 10, 31)
	if err != nil || int(n) < v.min || int(n) > v.max {
		return wrong(v, s)
	}
	*v.p = int(n)
	return nil
}

// decimalValue is a number that may have a fraction.
type decimalValue struct {
	scalar
	p   *float64
	max int
}

func decimal(p *float64, max int) value { return decimalValue{p: p, max: max} }

func (v decimalValue) want() string {
	return fmt.Sprintf("a number from 0 to %d such as 4 or 4.5", v.max)
}
func (v decimalValue) String() string { return strconv.FormatFloat(*v.p, 'f', -1, 64) }

func (v decimalValue) set(s string) error {
	if strings.Trim(s, "0123456789.") != "" { // no sign, exponent, hexadecimal, Inf
		return wrong(v, s)
	}
	f, err := strconv.ParseFloat(s, 64)
	if err != nil || f > float64(v.max) {
		return wrong(v, s)
	}
	*v.p = f
	return nil
}

// tag is a letter behind a number, in either case, that multiplies it.
type tag struct {
	letter byte
	times  int64
}

// The tags of each kind of number, the largest first, as printed.
var (
	spanTags = []tag{{'d', 86400}, {'h', 3600}, {'m', 60}, {'s', 1}}
	sizeTags = []tag{{'g', 1_000_000_000}, {'m', 1_000_000}, {'k', 1000}}
	freeTags = []tag{{'g', 1_000_000}, {'m', 1000}, {'k', 1}}
)

// tagged parses a number with at most one tag; it fits into an int64 also
// when multiplied with unit.
func tagged(s string, tags []tag, unit int64) (n int64, ok bool) {
	times := int64(1)
	if s != "" {
		for _, t := range tags {
			if s[len(s)-1]|0x20 == t.letter {
				times, s = t.times, s[:len(s)-1]
				break
			}
		}
	}
	u, err := strconv.ParseUint(s, 10, 63)
	if err != nil || int64(u) > (1<<63-1)/times/unit {
		return 0, false
	}
	return int64(u) * times, true
}

// untagged prints n with the largest tag that loses nothing.
func untagged(n int64, tags []tag) string {
	for _, t := range tags {
		if n != 0 && t.times > 1 && n%t.times == 0 {
			return strconv.FormatInt(n/t.times, 10) + string(t.letter)
		}
	}
	return strconv.FormatInt(n, 10)
}

// octetsValue is a size, counted in units of unit octets.
type octetsValue struct {
	scalar
	p    *int64
	unit int64
	tags []tag
}

func octets(p *int64, unit int64, tags []tag) value {
	return octetsValue{p: p, unit: unit, tags: tags}
}

func (v octetsValue) want() string {
	if v.unit == 1024 {
		return "a number of KiB, or with k, m or g"
	}
	return "a number of octets, or with k, m or g"
}
func (v octetsValue) String() string { return untagged(*v.p/v.unit, v.tags) }

func (v octetsValue) set(s string) error {
	n, ok := tagged(s, v.tags, v.unit)
	if !ok {
		return wrong(v, s)
	}
	*v.p = n * v.unit
	return nil
}

// spanValue is a length of time, in seconds unless tagged.
type spanValue struct {
	scalar
	p        *time.Duration
	min, max time.Duration
}

func span(p *time.Duration, min, max time.Duration) value {
	return spanValue{p: p, min: min, max: max}
}

func (v spanValue) want() string   { return "a number of seconds, or with m, h or d" }
func (v spanValue) String() string { return untagged(int64(*v.p/time.Second), spanTags) }

func (v spanValue) set(s string) error {
	n, ok := tagged(s, spanTags, int64(time.Second))
	if !ok {
		return wrong(v, s)
	}
	d := time.Duration(n) * time.Second
	if d < v.min || d > v.max {
		return fmt.Errorf("want a time from %s to %s, got %q",
			untagged(int64(v.min/time.Second), spanTags), untagged(int64(v.max/time.Second), spanTags), s)
	}
	*v.p = d
	return nil
}

package greylist

import (
	"errors"
	"strconv"
	"strings"
)

// A Record is what is known of a key. Times are seconds since 1970, in UTC.
type Record struct {
	Forbidden bool  // it never passes
	Allowed   int64 // from when it passes; of no meaning where it is forbidden
	Last      int64 // when it came last
	First     int64 // when its wait began; 0: it isn't known, as in records of the first postoffice
	Passed    int64 // when it passed first after that; 0: not yet, or it isn't known
	Tries     int   // how often it came since First, up to maxTries
	Hand      bool  // somebody allowed or forbade it, and no program takes that back
}

const (
	maxStamp  = 1 << 40 // seconds: a time beyond the year 30000 is none
	maxTries  = 1 << 20 // a count that goes no further
	maxRecord = 256     // octets of a record's text; what String makes is below that
)

// Fields behind the two that the first postoffice knew.
const (
	fieldFirst  = "first="
	fieldPassed = "passed="
	fieldTries  = "tries="
	fieldHand   = "hand"
	forbidden   = "*" // in the place of Allowed
)

// ErrRecord is the error for text that is no record.
var ErrRecord = errors.New("no greylist record: want ALLOWED LAST or * LAST in seconds since 1970")

// ByHand reports whether a person decided about the key: no program changes that.
func (r Record) ByHand() bool { return r.Hand || r.Forbidden }

// HasPassed reports whether a key has come again after its wait.
func (r Record) HasPassed() bool {
	return !r.Forbidden && (r.Passed != 0 || r.First == 0 && r.Last >= r.Allowed)
}

// String is the record's text, smtpauth(5).
func (r Record) String() string {
	b := make([]byte, 0, 96)
	if r.Forbidden {
		b = append(b, forbidden...)
	} else {
		b = strconv.AppendInt(b, r.Allowed, 10)
	}
	b = strconv.AppendInt(append(b, ' '), r.Last, 10)
	number := func(name string, n int64) {
		if n != 0 {
			b = strconv.AppendInt(append(append(b, ' '), name...), n, 10)
		}
	}
	number(fieldFirst, r.First)
	number(fieldPassed, r.Passed)
	number(fieldTries, int64(r.Tries))
	if r.Hand {
		b = append(append(b, ' '), fieldHand...)
	}
	return string(b)
}

// ParseRecord reads what String prints, and what the first postoffice wrote: two fields,
// perhaps with a NUL behind them. Fields that it doesn't know are left out.
func ParseRecord(text string) (r Record, err error) {
	if len(text) > maxRecord {
		return Record{}, ErrRecord
	}
	words := strings.Fields(strings.TrimSuffix(text, "\x00"))
	if len(words) < 2 {
		return Record{}, ErrRecord
	}
	if r.Forbidden = words[0] == forbidden; !r.Forbidden && !stamp(&r.Allowed, words[0]) || !stamp(&r.Last, words[1]) {
		return Record{}, ErrRecord
	}
	for _, w := range words[2:] {
		if !r.field(w) {
			return Record{}, ErrRecord
		}
	}
	return r, nil
}

// field reads one of the further fields.
func (r *Record) field(w string) bool {
	if w == fieldHand {
		r.Hand = true
		return true
	}
	for name, p := range map[string]*int64{fieldFirst: &r.First, fieldPassed: &r.Passed} {
		if text, is := strings.CutPrefix(w, name); is {
			return stamp(p, text)
		}
	}
	if text, is := strings.CutPrefix(w, fieldTries); is {
		n, err := strconv.ParseUint(text, 10, 32)
		r.Tries = int(min(n, maxTries))
		return err == nil
	}
	return true
}

// stamp reads a time.
func stamp(p *int64, text string) bool {
	n, err := strconv.ParseUint(text, 10, 63)
	*p = int64(n)
	return err == nil && n < maxStamp
}

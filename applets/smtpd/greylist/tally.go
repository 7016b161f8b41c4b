package greylist

import (
	"errors"
	"math"
	"strconv"
	"strings"
	"time"
)

// A Tally is what became of strangers in a time.
type Tally struct {
	Delayed   int64 // contacts that had to wait: first ones, and those that wait anew
	Early     int64 // that came again too early
	Passed    int64 // that came again after their wait, for the first time: real senders
	Known     int64 // that had passed before, or were allowed otherwise
	Forbidden int64 // that never pass
	Never     int64 // that were forgotten, and had not come again after their wait
	Shadow    int64 // that would have had to wait, with greylist=shadow
	Unstored  int64 // about which the store couldn't be asked
	Removed   int64 // records that somebody deleted

	waits [waitSteps]int64 // of Passed, how long it was from the first contact
}

// Waits are kept by their size alone: each step is a quarter of a doubling, from one second
// to more than a year, so that a median is wrong by a tenth at most.
const (
	waitSteps = 104
	perDouble = 4
)

// numbers are the tally's counts with their names in its text.
func (t *Tally) numbers() [9]struct {
	name string
	n    *int64
} {
	return [9]struct {
		name string
		n    *int64
	}{
		{"delayed", &t.Delayed}, {"early", &t.Early}, {"passed", &t.Passed}, {"known", &t.Known},
		{"forbidden", &t.Forbidden}, {"never", &t.Never}, {"shadow", &t.Shadow}, {"unstored", &t.Unstored}, {"removed", &t.Removed},
	}
}

// IsZero reports whether nothing was counted.
func (t *Tally) IsZero() bool { return *t == Tally{} }

// AddWait counts a real sender, and how long it took to pass.
func (t *Tally) AddWait(wait time.Duration) {
	t.Passed++
	step := perDouble * math.Log2(max(wait.Seconds(), 1))
	t.waits[min(int(math.Round(step)), waitSteps-1)]++
}

// Add counts what another tally has.
func (t *Tally) Add(u *Tally) {
	theirs := u.numbers()
	for i, mine := range t.numbers() {
		*mine.n += *theirs[i].n
	}
	for i, n := range u.waits {
		t.waits[i] += n
	}
}

// Median is how long half of the real senders took to pass, to a tenth; ok is false where
// there were none.
func (t *Tally) Median() (wait time.Duration, ok bool) {
	all := int64(0)
	for _, n := range t.waits {
		all += n
	}
	if all == 0 {
		return 0, false
	}
	below := int64(0)
	step := 0
	for ; below+t.waits[step] < (all+1)/2; step++ {
		below += t.waits[step]
	}
	return time.Duration(math.Exp2(float64(step)/perDouble) * float64(time.Second)).Round(time.Second), true
}

// String is the text under which a tally is kept: what isn't zero.
func (t *Tally) String() string {
	var b []byte
	for _, f := range t.numbers() {
		if *f.n != 0 {
			b = append(append(append(b, f.name...), '='), strconv.FormatInt(*f.n, 10)...)
			b = append(b, ' ')
		}
	}
	for i, n := range t.waits {
		if n != 0 {
			b = append(strconv.AppendInt(append(strconv.AppendInt(append(b, 'w'), int64(i), 10), '='), n, 10), ' ')
		}
	}
	return strings.TrimSuffix(string(b), " ")
}

var errTally = errors.New("no tally of the greylist's")

// ParseTally reads what String prints. Counts that it doesn't know are left out.
func ParseTally(text string) (t Tally, err error) {
	for w := range strings.FieldsSeq(text) {
		name, number, _ := strings.Cut(w, "=")
		n, err := strconv.ParseUint(number, 10, 62)
		if err != nil {
			return Tally{}, errTally
		}
		for _, f := range t.numbers() {
			if f.name == name {
				*f.n = int64(n)
			}
		}
		if step, err := strconv.ParseUint(strings.TrimPrefix(name, "w"), 10, 16); err == nil && name[0] == 'w' && step < waitSteps {
			t.waits[step] = int64(n)
		}
	}
	return t, nil
}

// hourForm is a tally's key: the hour, in UTC, of which it is.
const hourForm = "2006-01-02T15"

// TallyKey is the key of the tally of a time.
func TallyKey(t time.Time) string { return t.UTC().Format(hourForm) }

// TallyTime is when the hour of a key began.
func TallyTime(key string) (time.Time, bool) {
	t, err := time.Parse(hourForm, key)
	return t, err == nil
}

package authexpire

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"
	"unicode/utf8"

	"postoffice/applets/cmdline"
	"postoffice/applets/smtpd/greylist"
	"postoffice/internal/smtp"
)

// rules are those of the tests.
var rules = greylist.Rules{Delay: time.Hour}

// kept is a store with the records of lines "key TAB value".
func kept(t *testing.T, lines ...string) *greylist.Memory {
	t.Helper()
	m := new(greylist.Memory)
	for _, line := range lines {
		key, value, _ := strings.Cut(line, "\t")
		if err := m.Update(t.Context(), key, func(string, bool) (string, bool) { return value, true }); err != nil {
			t.Fatal(err)
		}
	}
	return m
}

// keys are those of a store.
func keys(t *testing.T, s greylist.Store) (all []string) {
	t.Helper()
	if err := s.Scan(t.Context(), "", func(key, _ string) bool { all = append(all, key); return true }); err != nil {
		t.Fatal(err)
	}
	return all
}

// printed is what one work prints.
func printed(t *testing.T, json bool, do func(ctx context.Context, p *printer) error) (string, error) {
	t.Helper()
	var out strings.Builder
	err := do(t.Context(), &printer{env: &cmdline.Env{Program: "authexpire", Stdout: &out}, json: json})
	return out.String(), err
}

func TestAge(t *testing.T) {
	for text, want := range map[string]time.Duration{
		"60": time.Minute, "3600": time.Hour, "1m": time.Minute, "90M": 90 * time.Minute, "3h": 3 * time.Hour, "2d": 48 * time.Hour,
		"2w": 14 * 24 * time.Hour, "2W": 14 * 24 * time.Hour,
		"": 0, "59": 0, "0": 0, "0d": 0, "-1d": 0, "1s": 0, "1y": 0, "w": 0, "1ww": 0, "1h30m": 0, "1.5h": 0, "99999999999w": 0, "4294967296": 0,
	} {
		if got, ok := readAge(text); got != want && ok || ok != (want != 0) {
			t.Errorf("%q: %v, %v, want %v", text, got, ok, want)
		}
	}
}

// TestExpire: who goes for which flags, with and without saying so.
func TestExpire(t *testing.T) {
	synctest.Test(t, func(t *testing.T) { // it is 2000-01-01
		now := time.Now()
		at := func(ago time.Duration) int64 { return now.Add(-ago).Unix() }
		const day = 24 * time.Hour
		lines := []string{
			fmt.Sprintf("a-passed@[192.0.2.1]\t%d %d", at(20*day), at(13*day)),
			fmt.Sprintf("b-idle@[192.0.2.1]\t%d %d", at(20*day), at(14*day+time.Second)),
			fmt.Sprintf("c-edge@[192.0.2.1]\t%d %d", at(20*day), at(14*day)),
			fmt.Sprintf("d-waits@[192.0.2.1]\t%d %d first=%d tries=1", at(-time.Hour), at(0), at(0)),
			fmt.Sprintf("e-forbidden@[192.0.2.1]\t* %d", at(30*day)),
			fmt.Sprintf("f-allowed@[192.0.2.1]\t%d %d hand", at(30*day)-1, at(30*day)),
			"g-bad@[192.0.2.1]\tx",
			fmt.Sprintf("<>@[192.0.2.2]\t%d %d", at(day), at(time.Hour)),
			fmt.Sprintf("<>@[192.0.2.3]\t* %d", at(time.Hour)),
			fmt.Sprintf("h-back@[192.0.2.1]\t%d %d first=%d passed=%d", at(day), at(0), at(2*day), at(0)),
		}
		for _, tt := range []struct {
			name string
			e    expiry
			gone string
			out  string // with -v
		}{
			{"plain", expiry{age: 14 * day}, "b-idle g-bad", "delete [b-idle@[192.0.2.1]]\ndelete [g-bad@[192.0.2.1]]\n10 records; expired 2.\n"},
			{"dry", expiry{age: 14 * day, dry: true}, "", "delete [b-idle@[192.0.2.1]]\ndelete [g-bad@[192.0.2.1]]\n10 records; expired 2.\n"},
			{"an hour", expiry{age: time.Hour - time.Second}, "<>@[192.0.2.2] a-passed b-idle c-edge g-bad", ""},
			{"by hand too", expiry{age: 14 * day, byHand: true}, "b-idle e-forbidden f-allowed g-bad", ""},
			{"by hand too, in its time", expiry{age: 31 * day, byHand: true}, "g-bad", ""},
			{"who waits", expiry{age: 14 * day, waiting: true}, "b-idle d-waits g-bad", ""},
			{"null", expiry{age: 14 * day, null: true}, "<>@[192.0.2.2] b-idle g-bad", ""},
			{"null, by hand too", expiry{age: 14 * day, null: true, byHand: true}, "<>@[192.0.2.2] <>@[192.0.2.3] b-idle e-forbidden f-allowed g-bad", ""},
		} {
			s := kept(t, lines...)
			all := keys(t, s)
			tt.e.verbose = tt.out != ""
			out, err := printed(t, false, func(ctx context.Context, p *printer) error { return p.expire(ctx, s, now, tt.e) })
			left := keys(t, s)
			var gone []string
			for _, key := range all {
				if !slices.Contains(left, key) {
					gone = append(gone, strings.TrimSuffix(key, "@[192.0.2.1]"))
				}
			}
			if strings.Join(gone, " ") != tt.gone || out != tt.out || err != nil {
				t.Errorf("%s: gone %q, printed %q, %v; want %q and %q", tt.name, gone, out, err, tt.gone, tt.out)
			}
		}
	})
}

// TestExpireMany: more than are deleted at once, each of them once.
func TestExpireMany(t *testing.T) {
	s := new(greylist.Memory)
	for i := range 2*maxGone + 7 {
		if err := s.Update(t.Context(), fmt.Sprintf("u%d@[192.0.2.1]", i), func(string, bool) (string, bool) { return "1 2", true }); err != nil {
			t.Fatal(err)
		}
	}
	out, err := printed(t, true, func(ctx context.Context, p *printer) error {
		return p.expire(ctx, s, time.Now(), expiry{age: time.Hour})
	})
	if want := fmt.Sprintf(`{"records":%d,"expired":%[1]d}`, 2*maxGone+7); strings.TrimSpace(out) != want || err != nil || s.Len() != 0 {
		t.Errorf("printed %q, %v, %d left, want %q", out, err, s.Len(), want)
	}
}

// TestExpireRace: a record that a server changes between the look and the deletion stays.
func TestExpireRace(t *testing.T) {
	m := kept(t, "a@[192.0.2.1]\t1 2", "b@[192.0.2.1]\t1 2")
	s := changing{m, func() {
		value := fmt.Sprintf("1 %d", time.Now().Unix())
		if err := m.Update(t.Context(), "a@[192.0.2.1]", func(string, bool) (string, bool) { return value, true }); err != nil {
			t.Error(err)
		}
	}}
	out, err := printed(t, false, func(ctx context.Context, p *printer) error {
		return p.expire(ctx, s, time.Now(), expiry{age: time.Hour, verbose: true})
	})
	if want := "delete [b@[192.0.2.1]]\n2 records; expired 1.\n"; out != want || err != nil || m.Len() != 1 {
		t.Errorf("printed %q, %v, want %q", out, err, want)
	}
}

// changing changes before something is deleted.
type changing struct {
	*greylist.Memory
	before func()
}

func (c changing) Delete(ctx context.Context, keys []string, gone func(key, value string) bool) (int, error) {
	c.before()
	return c.Memory.Delete(ctx, keys, gone)
}

// local sets the zone of the tests' times.
func local(t *testing.T) {
	was := time.Local
	time.Local = time.UTC
	t.Cleanup(func() { time.Local = was })
}

func TestList(t *testing.T) {
	local(t)
	const esc = "\x1b]0;x\x07\u202eevil@[192.0.2.9]"
	s := kept(t,
		"a@[192.0.2.1]\t946684800 946688400",
		"b@[192.0.2.1]\t946688400 946684800 first=946684800 tries=3",
		"c@[192.0.2.1]\t* 946684800",
		"d@[192.0.2.1]\tnothing",
		"e@[192.0.2.1]\t946684799 946684800 hand",
		esc+"\t946684800 946684800",
		"\xff\x00long-name-of-a-sender-that-fills-a-line@[ipv6:2001:db8::1]\t1 2",
	)
	want := "\ufffd?long-name-of-a-sender-that-fills-a-line@[ipv6:2001:db8::1]\t00:00 01 Jan 1970 #00:00 01 Jan 1970\n"
	out, err := printed(t, false, func(ctx context.Context, p *printer) error { return p.list(ctx, s, false) })
	all := "?]0;x??evil@[192.0.2.9]\t00:00 01 Jan 2000  00:00 01 Jan 2000\n" +
		"a@[192.0.2.1]\t00:00 01 Jan 2000 #01:00 01 Jan 2000\n" +
		"b@[192.0.2.1]\t01:00 01 Jan 2000  00:00 01 Jan 2000\n" +
		"c@[192.0.2.1]\t**** forbidden ****  00:00 01 Jan 2000\n" +
		"d@[192.0.2.1]\tNO VALUE SET\n" +
		"e@[192.0.2.1]\t23:59 31 Dec 1999 #00:00 01 Jan 2000\n" + want
	if out != all || err != nil {
		t.Errorf("printed\n%q, %v, want\n%q", out, err, all)
	}
	cut, err := printed(t, false, func(ctx context.Context, p *printer) error { return p.list(ctx, s, true) })
	for line := range strings.Lines(cut) {
		if key, _, _ := strings.Cut(line, "\t"); utf8.RuneCountInString(key) != 31 {
			t.Errorf("on a terminal %q has %d characters for the key, %v", line, utf8.RuneCountInString(key), err)
		}
	}
	out, err = printed(t, true, func(ctx context.Context, p *printer) error { return p.list(ctx, s, false) })
	states := ""
	for line := range strings.Lines(out) {
		var l listed
		if err := json.Unmarshal([]byte(line), &l); err != nil {
			t.Errorf("%q: %v", line, err)
		}
		if strings.ContainsFunc(line[:len(line)-1], func(r rune) bool { return r < ' ' || r == '\u202e' }) {
			t.Errorf("%q is not fit for a terminal", line)
		}
		states += l.State + " "
	}
	if want := "passed passed waiting forbidden unreadable allowed passed "; states != want || err != nil {
		t.Errorf("states %q, %v, want %q", states, err, want)
	}
}

// TestDecide: what is allowed passes at once, what is forbidden never does, however
// it was written.
func TestDecide(t *testing.T) {
	s := kept(t, "joe@[192.0.2.1]\t999999999 5 first=5 tries=1")
	now := time.Unix(1000, 0)
	out, err := printed(t, false, func(ctx context.Context, p *printer) error {
		return p.decide(ctx, s, now, []string{"Joe@[192.0.2.1]", "new@Far.Example"}, []string{"bad@[2001:DB8::1]"})
	})
	if want := "joe@[192.0.2.1]: passes from now on\nnew@far.example: passes from now on\nbad@[ipv6:2001:db8::1]: never passes from now on\n"; out != want || err != nil {
		t.Errorf("printed %q, %v, want %q", out, err, want)
	}
	for key, want := range map[string]string{
		"joe@[192.0.2.1]": "4 5 first=5 tries=1 hand", "new@far.example": "999 1000 hand", "bad@[ipv6:2001:db8::1]": "* 1000 hand",
	} {
		value, _, _ := s.Get(t.Context(), key)
		if value != want {
			t.Errorf("%s holds %q, want %q", key, value, want)
		}
		r, err := greylist.ParseRecord(value)
		a := greylist.Decide(r, true, greylist.Question{Sender: smtp.Path{Local: "x"}, Now: now}, rules)
		if pass := a.Verdict == greylist.Pass; err != nil || pass == r.Forbidden {
			t.Errorf("%s: %+v, %v", key, a, err)
		}
	}
}

func TestExplain(t *testing.T) {
	local(t)
	s := kept(t,
		"@[192.0.2.7]\t946688400 946684800 first=946684800 tries=1",
		"<>@[192.0.2.1]\t946684800 946684800 first=946670400 tries=1",
		"joe@[192.0.2.1]\t946688400 946684800 first=946684800 tries=3",
		"joe@[192.0.2.7]\t946684800 946684900 first=946681200 passed=946684900 tries=2",
		"joe@[198.51.100.0/24]\t* 946684800 hand",
		"joe@[ipv6:2001:db8::/64]\t946684799 946684800 hand",
		"joe@[spf.big.example]\t946684800 946684700 first=946681200 tries=1",
		"joe@far.example\tnothing",
		"joel@[192.0.2.1]\t1 2",
	)
	written := kept(t, "friend@far.example\t946684800")
	now := time.Unix(946686600, 0) // half past midnight
	waits := "joe@[192.0.2.1]: waits until 01:00 01 Jan 2000 (30m more): it came first on 00:00 01 Jan 2000, and 2 times more before its wait was over. What it sends again after that passes; nothing shortens the wait but: authexpire -a 'joe@[192.0.2.1]'\n"
	passes := "joe@[192.0.2.7]: passes: it came again after its wait, on 00:01 01 Jan 2000, 1h2m after it came first. It came last on 00:01 01 Jan 2000. To keep it out: authexpire -b 'joe@[192.0.2.7]'\n"
	never := "joe@[198.51.100.0/24]: never passes: it was forbidden by hand. It came last on 00:00 01 Jan 2000. To let it pass: authexpire -a 'joe@[198.51.100.0/24]'\n"
	allowed := "joe@[ipv6:2001:db8::/64]: passes: it was allowed by hand. It came last on 00:00 01 Jan 2000. To keep it out: authexpire -b 'joe@[ipv6:2001:db8::/64]'\n"
	pool := "joe@[spf.big.example]: would pass if it came now: its wait was over on 00:00 01 Jan 2000, and it has not come again since it came on 23:58 31 Dec 1999. It is for the sender's server to try again\n"
	bad := "joe@far.example: waits, since its record can't be read: the next message is a first contact; authexpire removes the record\n"
	many := "@[192.0.2.7]: waits until 01:00 01 Jan 2000 (30m more): it came first on 00:00 01 Jan 2000. What it sends again after that passes; nothing shortens the wait but: authexpire -a '@[192.0.2.7]'\n"
	null := "<>@[192.0.2.1]: would wait anew, until 04:30 01 Jan 2000 if it came now: it came again too late, as the null sender may pass only within 10m of its wait, which ended on 00:00 01 Jan 2000. To let it pass: authexpire -a '<>@[192.0.2.1]'\n"
	rules := rules
	rules.NullWindow = 10 * time.Minute
	for _, tt := range []struct{ asked, want string }{
		{"joe@[192.0.2.1]", waits + pool},
		{"Joe@[192.0.2.7]", many + passes + pool},
		{"joe@[198.51.100.4]", never + pool},
		{"joe@[IPv6:2001:db8::5]", allowed + pool},
		{"joe@[198.51.100.0/24]", never},
		{"joe@[spf.big.example]", pool},
		{"joe@far.example", bad + waits + passes + never + allowed + pool},
		{"<joe@far.example>", bad + waits + passes + never + allowed + pool},
		{"198.51.100.9", never},
		{"[IPv6:2001:db8::5]", allowed},
		{"2001:db8::5", allowed},
		{"<>@[192.0.2.1]", null},
		{"Friend@far.example", "friend@far.example: passes at once with option greylist-written: somebody here has written to it, last on 00:00 01 Jan 2000\n"},
	} {
		out, err := printed(t, false, func(ctx context.Context, p *printer) error {
			return p.explain(ctx, s, written, now, rules, []string{tt.asked})
		})
		if out != tt.want || err != nil {
			t.Errorf("%s: printed\n%s%v, want\n%s", tt.asked, out, err, tt.want)
		}
	}
	for _, asked := range []string{"eve@[192.0.2.1]", "eve@far.example", "203.0.113.1", "2001:db8:1::1", "joe@[spf.small.example]"} {
		out, err := printed(t, false, func(ctx context.Context, p *printer) error {
			return p.explain(ctx, s, written, now, rules, []string{asked})
		})
		e := (*cmdline.ExitError)(nil)
		if !strings.HasPrefix(out, asked+": nothing is known") && asked != "eve@[192.0.2.1]" || !errors.As(err, &e) || e.Code != 69 {
			t.Errorf("%s: printed %q, %v", asked, out, err)
		}
	}
	for _, asked := range []string{"joe", "", strings.Repeat("x", 2000) + "@y"} {
		_, err := printed(t, false, func(ctx context.Context, p *printer) error {
			return p.explain(ctx, s, written, now, rules, []string{asked})
		})
		if cmdline.ExitStatus(err) != 64 {
			t.Errorf("%.20q: %v", asked, err)
		}
	}
}

// TestReport: each line of the report, with shadow and without, and what is left out where
// it is nothing.
func TestReport(t *testing.T) {
	local(t)
	now := time.Unix(946728000, 0) // noon
	at := func(ago time.Duration) int64 { return now.Add(-ago).Unix() }
	records := kept(t,
		fmt.Sprintf("again@[192.0.2.1]\t%d %d first=%d passed=%[2]d tries=2", at(2*time.Hour), at(time.Hour), at(3*time.Hour)),
		fmt.Sprintf("once@[192.0.2.1]\t%d %d first=%[2]d tries=1", at(2*time.Hour), at(3*time.Hour)),
		fmt.Sprintf("allowed@[192.0.2.1]\t%d %d hand", at(time.Hour), at(time.Hour)),
		fmt.Sprintf("before@[192.0.2.1]\t%d %d first=%[2]d tries=1", at(100*time.Hour), at(101*time.Hour)),
		"odd@[192.0.2.1]\tx",
	)
	hours := kept(t)
	count := func(ago time.Duration, change func(*greylist.Tally)) {
		t.Helper()
		if err := hours.Update(t.Context(), greylist.TallyKey(now.Add(-ago)), func(string, bool) (string, bool) {
			var sum greylist.Tally
			change(&sum)
			return sum.String(), true
		}); err != nil {
			t.Fatal(err)
		}
	}
	report := func() string {
		t.Helper()
		r, err := sumUp(t.Context(), records, hours, now.Add(-24*time.Hour), now)
		if err != nil {
			t.Fatal(err)
		}
		r.Mode = "on"
		return r.text()
	}
	head := "The greylist from 12:00 31 Dec 1999 to 12:00 01 Jan 2000 (option greylist is on now):\n"
	count(time.Hour, func(sum *greylist.Tally) { sum.Delayed = 1 })
	count(48*time.Hour, func(sum *greylist.Tally) { sum.Delayed, sum.Shadow = 70, 70 })
	want := head + `        1  first contacts had to wait
        0  came again after their wait and passed: real senders
        0  never came again and were forgotten
        0  tries came before their wait was over
        0  messages were of senders who had passed before or were allowed otherwise
        0  tries were of senders that were forbidden by hand`
	if got := report(); got != want {
		t.Errorf("the report is\n%s\nwant\n%s", got, want)
	}
	count(time.Hour, func(sum *greylist.Tally) {
		sum.Delayed, sum.Never, sum.Early, sum.Known, sum.Forbidden, sum.Unstored, sum.Removed, sum.Shadow = 1, 2, 3, 4, 5, 6, 7, 8
		sum.AddWait(time.Hour)
	})
	want = head + `        1  first contacts had to wait
        1  came again after their wait and passed: real senders, half of them within about 57m of the first try
        2  never came again and were forgotten
        3  tries came before their wait was over
        4  messages were of senders who had passed before or were allowed otherwise
        5  tries were of senders that were forbidden by hand
        6  contacts came while the store could not be asked: the log says why
        7  records were deleted by hand, and are in none of these lines from then on
        8  first contacts would have had to wait, with greylist=shadow, which delays nobody
        1  senders of that time are remembered who sent again after their wait would have been over
        1  senders of that time are remembered who have not`
	if got := report(); got != want {
		t.Errorf("the report is\n%s\nwant\n%s", got, want)
	}
}

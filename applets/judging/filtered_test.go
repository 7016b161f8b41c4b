package judging

import (
	"fmt"
	"io"
	"log/slog"
	"slices"
	"strings"
	"testing"

	"postoffice/applets/filters"
	"postoffice/internal/filterline"
	"postoffice/internal/testenv"
	"postoffice/internal/testenv/testfilter"
	"postoffice/spool"
)

// filterSet are the filters at some addresses, which fail as words say.
func filterSet(t *testing.T, words string, addresses ...string) *filters.Set {
	t.Helper()
	var lines []filterline.Filter
	for _, address := range addresses {
		line, err := filterline.Parse(address+" "+words, func(s string) (string, bool) { return s, true })
		if err != nil {
			t.Fatal(err)
		}
		lines = append(lines, line...)
	}
	return filters.New(filters.Options{Filters: lines, Hostname: "us.example", Version: "0", Log: slog.New(slog.DiscardHandler)}, nil)
}

// TestFiltered has what filters may say of a message that waits in the queue, and what
// becomes of it: it waits on where a filter is away or doesn't want it now, whatever its
// line says of that.
func TestFiltered(t *testing.T) {
	whole := "Received: by us\nSubject: x\n\nhello\n"
	edit := testfilter.Reply('h', "X-Seen\x00yes\x00") + testfilter.Reply('b', "other\r\n") +
		testfilter.Reply('+', "<second@b.example>\x00") + testfilter.Reply('c', "")
	for _, tt := range []struct {
		name  string
		f     *testfilter.Filter
		at    spool.Location
		gone  bool // out of the queue
		back  bool // to its sender
		text  string
		rcpts string
	}{
		{"passed", &testfilter.Filter{}, spool.Active, false, false, whole, "r"},
		{"edited", &testfilter.Filter{Answers: map[byte]string{'E': edit}}, spool.Active, false, false, "Received: by us\nSubject: x\nX-Seen: yes\n\nother\n", "r second"},
		{"held", &testfilter.Filter{Answers: map[byte]string{'E': testfilter.Reply('q', "odd\x00") + testfilter.Reply('c', "")}}, spool.Held, false, false, whole, "r"},
		{"refused", &testfilter.Filter{Answers: map[byte]string{'R': testfilter.Reply('r', "")}}, 0, true, true, "", ""},
		{"refused at its end", &testfilter.Filter{Answers: map[byte]string{'B': testfilter.Reply('y', "554 5.7.1 no\x00")}}, 0, true, true, "", ""},
		{"discarded", &testfilter.Filter{Answers: map[byte]string{'E': testfilter.Reply('d', "")}}, 0, true, false, "", ""},
		{"not now", &testfilter.Filter{Answers: map[byte]string{'M': testfilter.Reply('t', "")}}, spool.Waiting, false, false, whole, "r"},
		{"dies", &testfilter.Filter{Answers: map[byte]string{'N': ""}, Closes: "N"}, spool.Waiting, false, false, whole, "r"},
		{"away", nil, spool.Waiting, false, false, whole, "r"},
	} {
		for _, fail := range []string{"open", "reject", "quarantine"} {
			t.Run(fmt.Sprint(tt.name, " ", fail), func(t *testing.T) {
				s := newStage(t)
				address := t.TempDir() + "/none"
				if tt.f != nil {
					address = testenv.ServeFilter(t, tt.f)
				}
				set := filterSet(t, "fail="+fail, address)
				id := s.come("a", "joe", false)
				m, _, err := s.queue.ClaimWaiting(id)
				if err != nil {
					t.Fatal(err)
				}
				v, err := Filtered(t.Context(), set, s.queue, m)
				if waits := tt.at == spool.Waiting && !tt.gone; waits != (err != nil) {
					t.Fatalf("%+v, %v", v, err)
				}
				if err != nil {
					m.Close()
				} else if _, err := s.apply(m, v); err != nil {
					t.Fatal(err)
				} else {
					v.Done()
				}
				l, err := s.queue.Read(id)
				if tt.gone {
					if err == nil || slices.Contains(s.refuse, "joe") != tt.back {
						t.Errorf("%+v, %v, sent back %v", l, err, s.refuse)
					}
					return
				}
				if err != nil || l.Location != tt.at {
					t.Fatalf("it is %v, %v, want %v", l.Location, err, tt.at)
				}
				data, err := s.queue.OpenData(id)
				if err != nil {
					t.Fatal(err)
				}
				text, err := io.ReadAll(data)
				data.Close()
				var rcpts []string
				for _, r := range l.Recipients {
					rcpts = append(rcpts, r.Path.Local)
				}
				if err != nil || string(text) != tt.text || strings.Join(rcpts, " ") != tt.rcpts {
					t.Errorf("%q to %q, %v", text, rcpts, err)
				}
			})
		}
	}
}

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
	"postoffice/spool/envelope"
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
				v, err := Filtered(t.Context(), "uid 1000", set, s.queue, m)
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

// TestRefusedRecipients: each recipient is judged by itself. Those that a filter refuses get
// their report, with its words for them, and the others the message; where one can't be
// judged now, the message waits for all.
func TestRefusedRecipients(t *testing.T) {
	edit := testfilter.Reply('h', "X-Seen\x00yes\x00") + testfilter.Reply('c', "")
	for _, tt := range []struct {
		name    string
		refuse  string // recipients
		later   string // one that isn't judged now
		end     string
		left    string // recipients to whom it goes on; "": none
		replies string
		seen    bool // by the filter, as a whole
		waits   bool
	}{
		{"one", "s", "", "", "r t", "s 550 5.7.1 not to s", true, false},
		{"one and edited", "r", "", edit, "s t", "r 550 5.7.1 not to r", true, false},
		{"all", "rst", "", "", "", "r 550 5.7.1 not to r, s 550 5.7.1 not to s, t 550 5.7.1 not to t", false, false},
		{"one and then all", "s", "", testfilter.Reply('y', "554 5.7.1 no\x00"), "", "r 554 5.7.1 no, s 550 5.7.1 not to s, t 554 5.7.1 no", true, false},
		{"one and thrown away", "s", "", testfilter.Reply('d', ""), "", "s 550 5.7.1 not to s", true, false},
		{"one and one not now", "r", "s", "", "", "", false, true},
	} {
		t.Run(tt.name, func(t *testing.T) {
			s := newStage(t)
			f := &testfilter.Filter{Answer: func(p testfilter.Packet) (string, bool) {
				switch p.Command {
				case 'R':
					switch name, _, _ := strings.Cut(strings.TrimPrefix(p.Data, "<"), "@"); {
					case strings.Contains(tt.refuse, name):
						return testfilter.Reply('y', "550 5.7.1 not to "+name+"\x00"), true
					case name == tt.later:
						return testfilter.Reply('t', ""), true
					}
				case 'E':
					return tt.end, tt.end != ""
				}
				return "", false
			}}
			set := filterSet(t, "", testenv.ServeFilter(t, f))
			id := s.come("a", "joe", false, "s", "t")
			m, _, err := s.queue.ClaimWaiting(id)
			testenv.Must(t, err)
			v, err := Filtered(t.Context(), "uid 1000", set, s.queue, m)
			if tt.waits {
				if m.Close(); err == nil {
					t.Errorf("%+v, want it to wait", v)
				}
				return
			}
			testenv.Must(t, err)
			defer v.Done()
			if _, err := s.apply(m, v); err != nil {
				t.Fatal(err)
			}
			seen := slices.ContainsFunc(f.Seen(), func(p testfilter.Packet) bool { return p.Command == 'E' })
			var left []string
			if l, err := s.queue.Read(id); err == nil {
				for _, r := range l.Recipients {
					if r.State == envelope.Pending {
						left = append(left, r.Path.Local)
					}
				}
			}
			if strings.Join(left, " ") != tt.left || strings.Join(s.replies, ", ") != tt.replies || seen != tt.seen {
				t.Errorf("it goes on to %q, refused are %q, the filter saw it: %v", left, s.replies, seen)
			}
		})
	}
}

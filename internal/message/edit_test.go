package message

import (
	"bufio"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

// edited is what e makes of a message that comes in these pieces.
func edited(t testing.TB, e *Edit, pieces ...string) string {
	t.Helper()
	var b strings.Builder
	w := bufio.NewWriter(&b)
	e.Reset(w)
	for _, p := range pieces {
		if n, err := io.WriteString(e, p); n != len(p) || err != nil {
			t.Fatalf("write %q: %d, %v", p, n, err)
		}
	}
	if err := e.Close(); err != nil {
		t.Fatalf("close: %v", err)
	}
	w.Flush()
	return b.String()
}

// TestEdit has what each operation does.
func TestEdit(t *testing.T) {
	const in = "A: 1\nB: 2\n x\nA: 3\n\nbody\nA: 4\n"
	for _, tt := range []struct {
		name, in string
		do       func(e *Edit)
		want     string
	}{
		{"nothing", in, func(*Edit) {}, in},
		{"add", in, func(e *Edit) { e.Add("C", " y") }, "A: 1\nB: 2\n x\nA: 3\nC: y\n\nbody\nA: 4\n"},
		{"insert first", in, func(e *Edit) { e.Insert(0, "C", "y") }, "C:y\nA: 1\nB: 2\n x\nA: 3\n\nbody\nA: 4\n"},
		{"insert further down", in, func(e *Edit) { e.Insert(2, "C", " y") }, "A: 1\nB: 2\n x\nC: y\nA: 3\n\nbody\nA: 4\n"},
		{"insert behind the end", in, func(e *Edit) { e.Insert(9, "C", " y") }, "A: 1\nB: 2\n x\nA: 3\nC: y\n\nbody\nA: 4\n"},
		{"change", in, func(e *Edit) { e.Change("a", 2, " y") }, "A: 1\nB: 2\n x\na: y\n\nbody\nA: 4\n"},
		{"change what is not there", in, func(e *Edit) { e.Change("a", 3, " y") }, "A: 1\nB: 2\n x\nA: 3\na: y\n\nbody\nA: 4\n"},
		{"delete", in, func(e *Edit) { e.Delete("b", 1) }, "A: 1\nA: 3\n\nbody\nA: 4\n"},
		{"delete what is not there", in, func(e *Edit) { e.Delete("b", 2) }, in},
		{"drop", in, func(e *Edit) { e.Drop("a") }, "B: 2\n x\n\nbody\nA: 4\n"},
		{"default, there", in, func(e *Edit) { e.Default("b", func() string { return " y" }) }, in},
		{"default, not there", in, func(e *Edit) { e.Default("c", func() string { return " y" }) }, "A: 1\nB: 2\n x\nA: 3\nc: y\n\nbody\nA: 4\n"},
		{"one after the other", in, func(e *Edit) { e.Delete("A", 1); e.Change("A", 1, " y"); e.Insert(1, "A", " z"); e.Delete("A", 2) }, "B: 2\n x\nA: z\n\nbody\nA: 4\n"},
		{"an added field is changed", in, func(e *Edit) { e.Add("C", " y"); e.Change("C", 1, " z"); e.Drop("A") }, "B: 2\n x\nC: z\n\nbody\nA: 4\n"},
		{"a value of several lines", in, func(e *Edit) { e.Drop("A"); e.Change("B", 1, " 1\r\n\t2\n3\n\n4\n") }, "B: 1\n\t2\n\t3\n\t\n\t4\n\nbody\nA: 4\n"},
		{"no header", "\nbody\n", func(e *Edit) { e.Add("C", " y") }, "C: y\n\nbody\n"},
		{"nothing at all", "", func(e *Edit) { e.Add("C", " y") }, "C: y\n"},
		{"header only", in, func(e *Edit) { e.Add("C", " y"); e.HeaderOnly() }, "A: 1\nB: 2\n x\nA: 3\nC: y\n\n"},
		{"header only, no empty line", "A: 1\nhello\n", (*Edit).HeaderOnly, "A: 1\n\n"},
		{"header only, a short line that is none", "A: 1\nhel", (*Edit).HeaderOnly, "A: 1\n\n"},
		{"header only, no last line end", "A: 1", (*Edit).HeaderOnly, "A: 1\n\n"},
		{"header only, none", "hello\n", (*Edit).HeaderOnly, "\n"},
		{"header alone", "A: 1\n", func(e *Edit) { e.Insert(7, "C", " y") }, "A: 1\nC: y\n"},
		{"no last line end", "A: 1", func(e *Edit) { e.Add("C", " y") }, "A: 1\nC: y\n"},
		{"no last line end, dropped", "A: 1\nB: 2", func(e *Edit) { e.Drop("B"); e.Add("C", " y") }, "A: 1\nC: y\n"},
		{"A24: no header line first", "hello\nA: 1\n", func(*Edit) {}, "\nhello\nA: 1\n"},
		{"A24: a blank first", " A: 1\n", func(*Edit) {}, "\n A: 1\n"},
		{"no header line first, and one added", "hello", func(e *Edit) { e.Add("C", " y") }, "C: y\n\nhello"},
		{"no header line further down", "A: 1\nhello\nA: 2\n", func(e *Edit) { e.Drop("X") }, "A: 1\nhello\nA: 2\n"},
		{"the same, and a field added", "A: 1\nhello\nA: 2\n", func(e *Edit) { e.Add("C", " y") }, "A: 1\nC: y\n\nhello\nA: 2\n"},
		{"the same, separated", "A: 1\nhello\nA: 2\n", (*Edit).Separate, "A: 1\n\nhello\nA: 2\n"},
		{"rewrite", in, func(e *Edit) { e.Rewrite("a", 100, upper) }, "<A: 1\n>B: 2\n x\n<A: 3\n>\nbody\nA: 4\n"},
		{"rewrite what is too long", in, func(e *Edit) { e.Rewrite("b", 7, upper) }, in},
		{"rewrite what comes behind one that is too long", "B: 12345\nB: 2\nA:\n", func(e *Edit) { e.Rewrite("b", 7, upper); e.Rewrite("a", 7, upper) }, "B: 12345\n<B: 2\n><A:\n>"},
		{"rewrite what was changed", in, func(e *Edit) { e.Rewrite("a", 100, upper); e.Change("a", 1, " y"); e.Delete("a", 2) }, "a: y\nB: 2\n x\n\nbody\nA: 4\n"},
		{"not a name", "A: 1\nB b: 2\n\nA:\n", func(e *Edit) { e.Drop("B"); e.Drop("A") }, "B b: 2\n\nA:\n"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			e := NewEdit(nil)
			tt.do(e)
			for cut := range len(tt.in) + 1 {
				if got := edited(t, e, tt.in[:cut], tt.in[cut:]); got != tt.want {
					t.Fatalf("%q, cut at %d:\n got %q\nwant %q", tt.in, cut, got, tt.want)
				}
			}
		})
	}
}

func upper(w *bufio.Writer, field []byte) error {
	_, err := fmt.Fprintf(w, "<%s>", field)
	return err
}

// TestWatch: each field is shown as it stands at that point of the operations,
// up to the limit, and an error ends the message.
func TestWatch(t *testing.T) {
	e := NewEdit(nil)
	var seen []string
	watch := func(f Field) error {
		seen = append(seen, fmt.Sprintf("%s|%s|%v", f.Name(), f.Value(), f.Cut))
		return nil
	}
	e.Watch("A", 1000, watch)
	e.Drop("B")
	e.Watch("B", 1000, watch)
	e.Change("A", 2, " new")
	e.Default("C", func() string { return " default" })
	e.Rewrite("A", 8, upper)
	e.Watch("a", 6, watch)
	e.Watch("c", 0, watch)
	edited(t, e, "A : 1\n 2 \nB: 3\nA: ", "456789\n\n")
	want := []string{"A|1\n 2|false", "A|1|true", "A|456789|false", "A|new|true", "||true"}
	want[3] = "A|new|true"
	slices.Sort(seen)
	slices.Sort(want)
	if diff := cmp.Diff(want, seen); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
	stop := errors.New("enough")
	e.Watch("D", 0, func(Field) error { return stop })
	e.Reset(bufio.NewWriter(io.Discard))
	if _, err := io.WriteString(e, "D: 1\nE: 2\n"); err != stop {
		t.Errorf("after a Watch that fails: %v", err)
	}
	if err := e.Close(); err != stop {
		t.Errorf("Close: %v", err)
	}
}

// TestEditErrors: the writer's error is told once the buffer is full.
func TestEditErrors(t *testing.T) {
	broken := errors.New("broken")
	e := NewEdit(bufio.NewWriterSize(failing{broken}, 16))
	if _, err := io.WriteString(e, "Subject: a line that is longer\n"); err != broken {
		t.Errorf("%v, want %v", err, broken)
	}
}

type failing struct{ err error }

func (f failing) Write([]byte) (int, error) { return 0, f.err }

// TestEditMemory: a header costs no memory, however long, in one line or in
// many.
func TestEditMemory(t *testing.T) {
	e := NewEdit(bufio.NewWriter(io.Discard))
	e.Drop("Return-Path")
	e.Watch("X", 200, func(Field) error { return nil })
	e.Rewrite("To", 64<<10, func(w *bufio.Writer, field []byte) error {
		_, err := w.Write(field)
		return err
	})
	for _, line := range []string{"X: y\n", "To: a\n", " folded\n", strings.Repeat("x", 100)} {
		block := []byte(strings.Repeat(line, 64<<10/len(line)))
		io.WriteString(e, "To: b\n")
		if n := testing.AllocsPerRun(100, func() { e.Write(block) }); n > 0 {
			t.Errorf("%.10q: %v allocations for each 64 KiB", line, n)
		}
	}
}

// A model is a header as a list, on which the operations are done one by one.
type model []string

func (m model) nth(name string, n int) int {
	for i, f := range m {
		if key, _, _ := strings.Cut(f, ":"); strings.EqualFold(strings.TrimRight(key, " "), name) {
			if n--; n == 0 {
				return i
			}
		}
	}
	return -1
}

// TestEditsReadBack: for random headers and operations, what is read back from
// an edited message is the list on which the same was done, and the body is as
// it was.
func TestEditsReadBack(t *testing.T) {
	r := rand.New(rand.NewPCG(1, 2))
	names := []string{"A", "a", "B", "Long-Name"}
	field := func() string {
		f := names[r.IntN(4)] + strings.Repeat(" ", r.IntN(2)) + ": " + fmt.Sprint(r.IntN(100)) + "\n"
		for range r.IntN(3) {
			f += " folded\n"
		}
		return f
	}
	for range 3000 {
		var m model
		for range r.IntN(6) {
			m = append(m, field())
		}
		const body = "\nA: 1\n\nB: 2"
		in := strings.Join(m, "") + body
		e := NewEdit(nil)
		var did []string
		for range r.IntN(6) {
			name, n, value := names[r.IntN(4)], r.IntN(4), fmt.Sprint(" new ", r.IntN(100))
			text := name + ":" + value + "\n"
			at := m.nth(name, n)
			what := r.IntN(6)
			did = append(did, fmt.Sprintf("%s %q %d %q", []string{"add", "insert", "change", "delete", "drop", "default"}[what], name, n, value))
			switch what {
			case 0:
				e.Add(name, value)
				m = append(m, text)
			case 1:
				e.Insert(n, name, value)
				m = slices.Insert(m, min(n, len(m)), text)
			case 2:
				n, at = n+1, m.nth(name, n+1)
				e.Change(name, n, value)
				if at >= 0 {
					m[at] = text
				} else {
					m = append(m, text)
				}
			case 3:
				e.Delete(name, n)
				if at >= 0 {
					m = slices.Delete(m, at, at+1)
				}
			case 4:
				e.Drop(name)
				for at = m.nth(name, 1); at >= 0; at = m.nth(name, 1) {
					m = slices.Delete(m, at, at+1)
				}
			case 5:
				e.Default(name, func() string { return value })
				if m.nth(name, 1) < 0 {
					m = append(m, text)
				}
			}
		}
		var pieces []string
		for rest := in; rest != ""; {
			n := 1 + r.IntN(len(rest))
			pieces, rest = append(pieces, rest[:n]), rest[n:]
		}
		out := bufio.NewReader(strings.NewReader(edited(t, e, pieces...)))
		h, err := ReadHeader(out, 1<<20)
		if err != nil {
			t.Fatal(err)
		}
		if diff := cmp.Diff(strings.Join(m, "|"), strings.Join(h, "|")); diff != "" {
			t.Fatalf("%q after %q (-want +got):\n%s", in, did, diff)
		}
		if rest, _ := io.ReadAll(out); string(rest) != body {
			t.Fatalf("%q after %q: the body is %q", in, did, rest)
		}
	}
}

// FuzzEdit: a cut makes no difference, without operations only an empty line
// is added in front, what operations put in is there exactly once, and Fields
// sees the same header as a Watch.
func FuzzEdit(f *testing.F) {
	f.Add("A: 1\nReturn-Path: x\n y\n\nbody", "v", 20)
	f.Add(" X: y\n", "v\nX: y", 1)
	f.Add("a b: c\n", "\r\n\r\nx", 2)
	f.Add("A:\n\nA:\n", "", 2)
	f.Fuzz(func(t *testing.T, in, value string, cut int) {
		cut = max(0, min(cut, len(in)))
		if got := edited(t, NewEdit(nil), in); got != in && got != "\n"+in {
			t.Fatalf("%q became %q", in, got)
		}
		e := NewEdit(nil)
		var watched, read []string
		e.Watch("A", 50, func(f Field) error {
			watched = append(watched, fmt.Sprintf("%q %v", f.Text, f.Cut))
			return nil
		})
		edited(t, e, in[:cut], in[cut:])
		for f, err := range Fields(bufio.NewReader(strings.NewReader(in)), 50) {
			if err != nil {
				t.Fatal(err)
			}
			if f.Is("A") {
				read = append(read, fmt.Sprintf("%q %v", f.Text, f.Cut))
			}
		}
		if !slices.Equal(watched, read) {
			t.Errorf("%q: a Watch sees %q, Fields gives %q", in, watched, read)
		}
		const mine = "X-Of-This-Test"
		if strings.Contains(strings.ToLower(in+value), "x-of") || strings.ContainsAny(in, "\r") {
			return
		}
		e.Insert(cut%3, mine, value)
		whole := edited(t, e, in)
		if pieces := edited(t, e, in[:cut], in[cut:]); pieces != whole {
			t.Fatalf("%q in one piece gives\n%q, cut at %d\n%q", in, whole, cut, pieces)
		}
		n := 0
		for f := range Fields(bufio.NewReader(strings.NewReader(whole)), 50) {
			if f.Is(mine) {
				n++
			}
		}
		if n != 1 {
			t.Errorf("%q with %q at %d: %d fields in %q", in, value, cut%3, n, whole)
		}
		e.Drop(mine)
		if got, want := edited(t, e, in), edited(t, NewEdit(nil), in); got != want {
			t.Errorf("%q with a field put in and dropped again: %q", in, got)
		}
	})
}

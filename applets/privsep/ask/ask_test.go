package ask

import (
	"context"
	"encoding/binary"
	"errors"
	"net"
	"os"
	"slices"
	"sync"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

var (
	errGone = errors.New("gone")
	errMute = errors.New("mute")
	errForm = errors.New("no answer")
)

// decode reads a number and the text behind it.
func decode(b []byte) (uint32, string, error) {
	if len(b) < 4 {
		return 0, "", errForm
	}
	return binary.BigEndian.Uint32(b), string(b[4:]), nil
}

func packet(number uint32, text string) []byte {
	return append(binary.BigEndian.AppendUint32(nil, number), text...)
}

// pair is a link's two ends.
func pair(t *testing.T) (ours, theirs *net.UnixConn) {
	t.Helper()
	fds, err := unix.Socketpair(unix.AF_UNIX, unix.SOCK_SEQPACKET|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		t.Fatal(err)
	}
	var ends [2]*net.UnixConn
	for i, fd := range fds {
		f := os.NewFile(uintptr(fd), "link")
		end, err := net.FileConn(f)
		f.Close()
		if err != nil {
			t.Fatal(err)
		}
		ends[i] = end.(*net.UnixConn)
	}
	return ends[0], ends[1]
}

// linked is a client whose questions answer gets.
func linked(t *testing.T, o Options[string], answer func(link *net.UnixConn, number uint32, text string)) *Client[string] {
	t.Helper()
	ours, theirs := pair(t)
	o.Size, o.Decode, o.Gone, o.Mute = 100, decode, errGone, errMute
	if o.Wait == 0 {
		o.Wait = time.Minute
	}
	c := New(ours, o)
	var work sync.WaitGroup
	work.Go(func() {
		buf := make([]byte, 100)
		for {
			n, err := theirs.Read(buf)
			if err != nil {
				return
			}
			number, text, err := decode(buf[:n])
			if err != nil {
				t.Error(err)
			}
			answer(theirs, number, text)
		}
	})
	t.Cleanup(func() {
		c.Close()
		theirs.Close()
		work.Wait()
	})
	return c
}

// ask asks with a number of its own.
func (c *Client[A]) ask(ctx context.Context, text string) (A, error) {
	n := c.Number()
	return c.Ask(ctx, n, packet(n, text))
}

// TestAnswers: each question has the answer of its number, whichever comes first.
func TestAnswers(t *testing.T) {
	const questions = 10
	var held []uint32 // of the process that answers
	c := linked(t, Options[string]{}, func(link *net.UnixConn, number uint32, text string) {
		if held = append(held, number); len(held) < questions {
			return
		}
		for _, n := range slices.Backward(held) {
			link.Write(packet(n+1_000_000, "nobody asked"))
			link.Write(packet(n, string(rune('0'+n))))
		}
	})
	var all sync.WaitGroup
	for range questions {
		all.Go(func() {
			n := c.Number()
			if a, err := c.Ask(t.Context(), n, packet(n, "?")); a != string(rune('0'+n)) {
				t.Errorf("question %d: %q, %v", n, a, err)
			}
		})
	}
	all.Wait()
}

// TestNumber: numbers begin again, without 0.
func TestNumber(t *testing.T) {
	c := linked(t, Options[string]{}, nil)
	c.number = 1<<32 - 2
	if a, b := c.Number(), c.Number(); a != 1<<32-1 || b != 1 {
		t.Errorf("%d and %d", a, b)
	}
}

// TestGivenUp: who stops waiting leaves nothing behind, and has had their place.
func TestGivenUp(t *testing.T) {
	c := linked(t, Options[string]{Places: 1}, func(link *net.UnixConn, number uint32, text string) {
		if text == "answer" {
			link.Write(packet(number, "yes"))
		}
	})
	why := errors.New("enough")
	ctx, cancel := context.WithCancelCause(t.Context())
	first, second := make(chan error), make(chan error)
	for _, to := range []chan error{first, second} {
		go func() {
			_, err := c.ask(ctx, "say nothing")
			to <- err
		}()
	}
	cancel(why)
	for _, from := range []chan error{first, second} { // one had the place, the other one waited for it
		if err := <-from; err != why {
			t.Errorf("given up: %v", err)
		}
	}
	if a, err := c.ask(t.Context(), "answer"); a != "yes" {
		t.Errorf("%q, %v", a, err)
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	if len(c.waiting) != 0 || len(c.places) != 0 {
		t.Errorf("%d answers are waited for, in %d places", len(c.waiting), len(c.places))
	}
}

// TestHung: an end that answers nobody is left where that is asked for; one that answers
// others is not, nor one whose question somebody gave up.
func TestHung(t *testing.T) {
	nothing := func(*net.UnixConn, uint32, string) {}
	c := linked(t, Options[string]{Wait: 20 * time.Millisecond, Hung: true}, nothing)
	if _, err := c.ask(t.Context(), "?"); err != errMute {
		t.Errorf("not answered: %v", err)
	}
	<-c.Gone()
	if _, err := c.ask(t.Context(), "?"); !errors.Is(err, errGone) || !c.HasHung() {
		t.Errorf("behind it: %v, hung: %v", err, c.HasHung())
	}

	c = linked(t, Options[string]{Wait: 20 * time.Millisecond}, nothing)
	if _, err := c.ask(t.Context(), "?"); err != errMute {
		t.Errorf("not answered: %v", err)
	}
	select {
	case <-c.Gone():
		t.Error("a link ends for one question without an answer")
	default:
	}

	for _, lives := range []bool{true, false} { // one that lives can't answer that question
		tries := 0
		c = linked(t, Options[string]{Wait: 20 * time.Millisecond, Hung: true, Lives: func() bool { tries++; return lives }}, nothing)
		if _, err := c.ask(t.Context(), "?"); err != errMute || tries != 1 || c.HasHung() == lives {
			t.Errorf("lives %v: %v, asked %d times, hung: %v", lives, err, tries, c.HasHung())
		}
		if !lives {
			<-c.Gone()
		} else if !c.Alive() {
			t.Error("a link ends though its other end lives")
		}
	}

	asked := make(chan bool, 1)
	c = linked(t, Options[string]{Hung: true}, func(*net.UnixConn, uint32, string) { asked <- true })
	ctx, cancel := context.WithCancel(t.Context())
	go func() { <-asked; cancel() }()
	if _, err := c.ask(ctx, "?"); err != context.Canceled {
		t.Errorf("given up: %v", err)
	}
	select {
	case <-c.Gone():
		t.Error("a link ends for a question that was given up")
	default:
	}

	c = linked(t, Options[string]{Wait: 300 * time.Millisecond, Hung: true}, func(link *net.UnixConn, number uint32, text string) {
		link.Write(packet(number+1, "somebody else's"))
	})
	if _, err := c.ask(t.Context(), "?"); err != errMute {
		t.Errorf("others are answered: %v", err)
	}
	select {
	case <-c.Gone():
		t.Error("a link ends though others are answered")
	default:
	}
}

// TestNoAnswerA71: what is no answer ends the link, and what came before is had.
func TestNoAnswerA71(t *testing.T) {
	c := linked(t, Options[string]{}, func(link *net.UnixConn, number uint32, text string) {
		link.Write(packet(number, "the last one"))
		link.Write([]byte("x"))
	})
	if a, err := c.ask(t.Context(), "?"); a != "the last one" {
		t.Errorf("%q, %v", a, err)
	}
	<-c.Gone()
	if _, err := c.ask(t.Context(), "?"); !errors.Is(err, errGone) {
		t.Errorf("behind it: %v", err)
	}
	var buf [1]byte
	if _, err := c.conn.Read(buf[:]); err == nil {
		t.Error("the link is open")
	}
}

// TestServe: questions are worked on beside each other, and the first packet that is none
// ends the link with its error; the end of the link is none.
func TestServe(t *testing.T) {
	for _, last := range []string{"", "nonsense", "longer than a question is"} {
		ours, theirs := pair(t)
		defer ours.Close()
		quick := make(chan struct{})
		ended := make(chan error, 1)
		go func() {
			ended <- Serve(theirs, 2, 8, func(to, question []byte) ([]byte, error) {
				switch string(question) {
				case "slow":
					<-quick
				case "quick":
					close(quick)
				default:
					return nil, errForm
				}
				return append(append(to, "to "...), question...), nil
			})
		}()
		for _, text := range []string{"slow", "quick"} {
			if _, err := ours.Write([]byte(text)); err != nil {
				t.Fatal(err)
			}
		}
		var heard []string
		buf := make([]byte, 100)
		for range 2 {
			n, err := ours.Read(buf)
			if err != nil {
				t.Fatal(err)
			}
			heard = append(heard, string(buf[:n]))
		}
		if slices.Sort(heard); !slices.Equal(heard, []string{"to quick", "to slow"}) {
			t.Errorf("heard %q", heard)
		}
		want := errForm
		if last == "" {
			want = nil
			ours.Close()
		} else if _, err := ours.Write([]byte(last)); err != nil {
			t.Fatal(err)
		}
		if err := <-ended; !errors.Is(err, want) {
			t.Errorf("behind %q it ended with %v, want %v", last, err, want)
		}
	}
}

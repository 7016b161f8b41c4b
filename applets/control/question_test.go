package control

import (
	"context"
	"errors"
	"iter"
	"os"
	"strings"
	"testing"
	"testing/synctest"
	"time"
)

// TestA83Questions: a user has two questions in work, all users together eight, the
// others wait for half a minute; those of root and of the server's user neither
// wait nor count, and uids without an account are one user.
func TestA83Questions(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newServer(Handler{Nobody: func(uid int) bool { return uid >= 100_000 }})
		over := make(chan struct{})
		inWork, refused := map[int]int{}, map[int]int{}
		answers := make(chan func(), 100)
		ask := func(uid, n int) {
			for range n {
				go func() {
					err := s.question(context.Background(), &answer{}, Peer{UID: uid}, func() error {
						answers <- func() { inWork[uid]++ }
						<-over
						return nil
					})
					if e := (*Error)(nil); errors.As(err, &e) && e.Code == codeTempFail {
						answers <- func() { refused[uid]++ }
					}
				}()
			}
			synctest.Wait()
			for len(answers) > 0 {
				(<-answers)()
			}
		}
		ask(0, 20)
		ask(os.Geteuid(), 1)
		for uid := 71000; uid < 71003; uid++ {
			ask(uid, 3)
		}
		ask(100_000, 1)
		ask(100_001, 1)
		ask(100_002, 1)
		ask(71003, 1)
		want := map[int]int{71000: 2, 71001: 2, 71002: 2, 71003: 0, 100_000: 1, 100_001: 1, 100_002: 0}
		for uid, n := range want {
			if inWork[uid] != n {
				t.Errorf("uid %d has %d questions in work, want %d", uid, inWork[uid], n)
			}
		}
		if n := inWork[0]; n != 20 && n != 21 { // the second where this is root
			t.Errorf("root has %d questions in work, want 20", n)
		}
		if !s.asked.awaited() {
			t.Error("nobody waits")
		}
		for range 40 {
			select {
			case over <- struct{}{}:
				synctest.Wait()
			default:
			}
		}
		ask(71004, 0)
		if inWork[71003] != 1 || inWork[71000] != 3 {
			t.Errorf("when those before were answered %v were in work", inWork)
		}
		close(over)
		synctest.Wait()
		if s.asked.awaited() || s.asked.room.Inside() != 0 {
			t.Error("somebody is left")
		}
	})
}

// TestA83QuestionRefused: who finds no turn for half a minute is told so, and who
// doesn't read an answer gives its turn up while others wait.
func TestA83QuestionRefused(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newServer(Handler{})
		over := make(chan struct{})
		busy := make(chan bool, 2)
		for range maxQuestionsEach {
			go s.question(context.Background(), &answer{}, Peer{UID: 71000}, func() error { <-over; return nil })
		}
		synctest.Wait()
		a := &answer{}
		s2 := make(chan error, 1)
		go func() {
			s2 <- s.question(context.Background(), &answer{}, Peer{UID: 71000}, func() error { return nil })
		}()
		go s.question(context.Background(), a, Peer{UID: 71001}, func() error {
			synctest.Wait()
			busy <- a.crowded()
			return nil
		})
		if !<-busy {
			t.Error("an answer that nobody reads keeps its turn while others wait")
		}
		begun := time.Now()
		err := <-s2
		if e := (*Error)(nil); !errors.As(err, &e) || e.Code != codeTempFail || time.Since(begun) > questionWait {
			t.Errorf("%v after %v", err, time.Since(begun))
		}
		close(over)
	})
}

// TestClientReadsAll: whatever a server sends of a message the client reads.
func TestClientReadsAll(t *testing.T) {
	const notes, recipients = 6000, 100_000 // 24 MB of history
	m := Message{ID: "A", State: Deferred}
	for range recipients {
		m.Recipients = append(m.Recipients, Recipient{Address: "someone@example.org", State: "pending", Reply: "451 later"})
	}
	text := strings.Repeat("x", 4000)
	for i := range notes {
		m.History = append(m.History, Note{For: []Range{{i, i}}, Reply: text})
	}
	path := start(t, Handler{Show: func(context.Context, Peer, string) iter.Seq2[Part, error] { return partsOf(m) }})
	got, err := dial(t, path).Show(t.Context(), "A")
	if err != nil || len(got.Recipients) != recipients || len(got.History) != notes || got.History[notes-1].Reply != text {
		t.Errorf("%d recipients, %d notes, %v", len(got.Recipients), len(got.History), err)
	}
}

// TestRanges: recipients of a note are told by their numbers.
func TestRanges(t *testing.T) {
	var n Note
	if !n.Speaks(7) {
		t.Error("a note about the whole message is about nobody")
	}
	for _, i := range []int{1, 2, 3, 7, 5} {
		n.For = Extend(n.For, i)
	}
	var got []int
	for i := range 9 {
		if n.Speaks(i) {
			got = append(got, i)
		}
	}
	if len(n.For) != 3 || len(got) != 5 {
		t.Errorf("%v speaks of %v", n.For, got)
	}
}

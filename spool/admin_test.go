package spool

import (
	"errors"
	"io"
	"syscall"
	"testing"

	"postoffice/spool/envelope"
)

// held puts a message into hold/.
func held(t testing.TB, q *Queue, rcpts int) ID {
	t.Helper()
	id := accept(t, q, envelopeFor(rcpts), text)
	if err := claim(t, q, id).Hold("looks odd"); err != nil {
		t.Fatal(err)
	}
	return id
}

// TestClaimAny: a held message is worked on where it is.
func TestClaimAny(t *testing.T) {
	q, _ := tempQueue(t)
	id := held(t, q, 2)
	m, err := q.ClaimAny(id)
	if err != nil || !m.Held() || body(t, m) != text {
		t.Fatalf("%v, %v, want the held message", m, err)
	}
	if _, err := q.ClaimAny(id); !errors.Is(err, ErrBusy) {
		t.Errorf("second claim: %v, want ErrBusy", err)
	}
	if err := q.Release(id); !errors.Is(err, ErrBusy) {
		t.Errorf("release meanwhile: %v, want ErrBusy", err)
	}
	if err := m.Record([]envelope.Key{key(0, 0)}, envelope.Cancelled); err != nil {
		t.Fatal(err)
	}
	if err := errors.Join(m.Close(), q.Release(id)); err != nil {
		t.Fatal(err)
	}
	if got := pendingKeys(claim(t, q, id)); len(got) != 1 || got[0] != (key(0, 1)) {
		t.Errorf("pending after the release: %v, want 0.1", got)
	}
	if _, err := q.ClaimAny("0000000000AAAA"); !errors.Is(err, ErrGone) {
		t.Errorf("unknown: %v, want ErrGone", err)
	}
}

// TestClaimAnyActive: what is in the queue is claimed as by Claim.
func TestClaimAnyActive(t *testing.T) {
	q, _ := tempQueue(t)
	id := accept(t, q, envelopeFor(1), text)
	m, err := q.ClaimAny(id)
	if err != nil || m.Held() {
		t.Fatalf("%v, %v", m, err)
	}
	defer m.Close()
	if _, err := q.Claim(id); !errors.Is(err, ErrBusy) {
		t.Errorf("claim meanwhile: %v, want ErrBusy", err)
	}
}

// TestHoldAgain: a second reason takes the first one's place, and nothing of
// the message is lost.
func TestHoldAgain(t *testing.T) {
	q, _ := tempQueue(t)
	id := held(t, q, 1)
	m, err := q.ClaimAny(id)
	if err != nil {
		t.Fatal(err)
	}
	if err := m.Hold("looks odder"); err != nil {
		t.Fatal(err)
	}
	s, err := q.Read(id)
	if err != nil || s.Location != Held || s.Reason != "looks odder" || len(s.Recipients) != 1 {
		t.Errorf("snapshot %+v, %v", s, err)
	}
}

// TestFinishHeld removes a held message.
func TestFinishHeld(t *testing.T) {
	q, _ := tempQueue(t)
	id := held(t, q, 1)
	m, err := q.ClaimAny(id)
	if err != nil {
		t.Fatal(err)
	}
	if err := m.Finish(); !errors.Is(err, ErrPending) {
		t.Errorf("Finish: %v, want ErrPending", err)
	}
	if err := errors.Join(m.Record(pendingKeys(m), envelope.Cancelled), m.Finish()); err != nil {
		t.Fatal(err)
	}
	if n := entries(t, q); n != [numLocations]int{} {
		t.Errorf("left over: %v", n)
	}
}

// TestA38ReleaseProves: what another process recorded while the message was
// held, and could not sync, is written again before the message may be
// delivered: a release fails where that does.
func TestA38ReleaseProves(t *testing.T) {
	q, other, h, id := stage(t, token("a", 1, 100, false))
	m, err := q.Claim(id)
	if err != nil {
		t.Fatal(err)
	}
	if err := m.Hold(heldFor); err != nil {
		t.Fatal(err)
	}
	h.sync = func(string) error { return syscall.EIO }
	if err := other.Release(id); !errors.Is(err, ErrLater) || !errors.Is(err, syscall.EIO) {
		t.Errorf("release on a disk that syncs nothing: %v, want ErrLater and EIO", err)
	}
	if m, err := other.ClaimAny(id); !errors.Is(err, ErrLater) {
		t.Errorf("claim on a disk that syncs nothing: %v, %v, want ErrLater", m, err)
	}
	h.sync = nil
	if err := other.Release(id); err != nil {
		t.Error(err)
	}
}

// TestOpenData reads a message octet for octet wherever it is, also one that is
// claimed, and to its end when it is removed meanwhile.
func TestOpenData(t *testing.T) {
	q, _ := tempQueue(t)
	active, away := accept(t, q, envelopeFor(1), text), held(t, q, 1)
	m := claim(t, q, active)
	for _, id := range []ID{active, away} {
		r, err := q.OpenData(id)
		if err != nil {
			t.Fatal(err)
		}
		if id == active {
			if err := errors.Join(m.Record(pendingKeys(m), envelope.Delivered), m.Finish()); err != nil {
				t.Fatal(err)
			}
		}
		b, err := io.ReadAll(r)
		if err = errors.Join(err, r.Close()); err != nil || string(b) != text {
			t.Errorf("%s: %q, %v", id, b, err)
		}
	}
	for _, id := range []ID{active, "0000000000AAAA", "../lock"} {
		if r, err := q.OpenData(id); !errors.Is(err, ErrGone) {
			t.Errorf("%s: %v, %v, want ErrGone", id, r, err)
		}
	}
}

// TestDiscard removes what is in corrupt/, and nothing else.
func TestDiscard(t *testing.T) {
	q, _ := tempQueue(t)
	good := accept(t, q, envelopeFor(1), "x\n")
	bad := accept(t, q, envelopeFor(1), "x\n")
	must(t, q.dirs[Active].Rename(string(bad), q.dirs[Corrupt], string(bad)))
	must(t, q.Discard(bad))
	for _, id := range []ID{bad, good, "../queue/" + good, "", "lock"} {
		if err := q.Discard(id); !errors.Is(err, ErrGone) {
			t.Errorf("%q: %v, want ErrGone", id, err)
		}
	}
	claim(t, q, good)
}

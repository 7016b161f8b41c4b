package account

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"
)

// slowDirectory answers after a second, and counts who waits for it.
type slowDirectory struct {
	mu               sync.Mutex // guards what follows
	now, most, asked int
	pad              int // octets of each answer
}

func (d *slowDirectory) run(_ context.Context, database, key string) ([]byte, error) {
	d.mu.Lock()
	d.now++
	d.asked++
	d.most = max(d.most, d.now)
	d.mu.Unlock()
	time.Sleep(time.Second)
	d.mu.Lock()
	defer d.mu.Unlock()
	d.now--
	uid := key
	if strings.HasPrefix(key, "u") {
		uid = key[1:]
	}
	switch database {
	case "group":
		return []byte("u" + uid + ":x:" + uid + ":" + strings.Repeat("x", d.pad) + "\n"), nil
	case "initgroups":
		return []byte(key + " " + uid + "\n"), nil
	}
	return fmt.Appendf(nil, "u%s:x:%s:%s:%s:/:/bin/sh\n", uid, uid, uid, strings.Repeat("x", d.pad)), nil
}

func bySlowDirectory(t *testing.T) (*System, *slowDirectory) {
	dir := t.TempDir()
	n := Names{Passwd: filepath.Join(dir, "passwd"), Group: filepath.Join(dir, "group"), NSSwitch: filepath.Join(dir, "nsswitch.conf")}
	must(t, os.WriteFile(n.Passwd, []byte("root:x:0:0:Charlie &,1st floor:/root:\n"), 0o644))
	must(t, os.WriteFile(n.NSSwitch, []byte("passwd: files ldap\ngroup: files ldap\n"), 0o644))
	s, d := NewSystem(n), &slowDirectory{}
	s.getent.run = d.run
	return s, d
}

// TestA76LookupsBounded: whatever is looked up at once, names, uids or groups,
// getent runs 4 times at a time, and what it said is asked for once a minute.
func TestA76LookupsBounded(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s, d := bySlowDirectory(t)
		all := func() {
			var wg sync.WaitGroup
			for i := 1000; i < 1020; i++ {
				a := Account{Name: fmt.Sprintf("u%d", i), UID: i, GID: i}
				wg.Go(func() {
					if name := s.NameOf(a.UID); name != a.Name {
						t.Errorf("uid %d is %q", a.UID, name)
					}
				})
				wg.Go(func() {
					if got, err := s.Lookup(t.Context(), a.Name); err != nil || got.UID != a.UID {
						t.Errorf("%s is %+v, %v", a.Name, got, err)
					}
				})
				wg.Go(func() {
					if got, err := s.Groups(t.Context(), a); err != nil || len(got) != 2 {
						t.Errorf("%s is in %v, %v", a.Name, got, err)
					}
				})
				wg.Go(func() {
					if alone, err := s.Alone(a); err != nil || !alone {
						t.Errorf("%s is alone: %v, %v", a.Name, alone, err)
					}
				})
			}
			wg.Wait()
		}
		all()
		if d.most != maxGetents || d.asked != 80 {
			t.Errorf("%d at once, %d in all; want %d, 80", d.most, d.asked, maxGetents)
		}
		all()
		if d.asked != 80 {
			t.Errorf("%d in all when all was known, want 80", d.asked)
		}
		time.Sleep(answersKept)
		all()
		if d.asked != 160 {
			t.Errorf("%d in all after a minute, want 160", d.asked)
		}
	})
}

// TestA76AnswersBounded: what is kept of answers has at most 1 MiB.
func TestA76AnswersBounded(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s, d := bySlowDirectory(t)
		d.pad = 60 << 10
		most := 0
		for i := range 40 {
			if s.NameOf(1000+i) == "" {
				t.Fatalf("uid %d is not found", 1000+i)
			}
			octets := 0
			for q, a := range s.getent.known {
				octets += a.size(q)
			}
			if octets != s.getent.octets {
				t.Fatalf("%d octets are kept, %d counted", octets, s.getent.octets)
			}
			most = max(most, octets)
		}
		if most > maxKept || most < maxKept/2 {
			t.Errorf("up to %d octets were kept, want at most %d and not much less", most, maxKept)
		}
	})
}

// TestInFile: a uid is found by the passwd file alone, as it is now.
func TestInFile(t *testing.T) {
	s, d := bySlowDirectory(t)
	if p, err := s.InFile(0); err != nil || p != (Person{"root", "Charlie &", "/root", 0}) {
		t.Errorf("uid 0: %+v, %v", p, err)
	}
	if p, err := s.InFile(1000); !errors.Is(err, ErrNoUser) || d.asked != 0 {
		t.Errorf("uid 1000: %+v, %v, getent asked %d times", p, err, d.asked)
	}
	must(t, os.WriteFile(s.names.Passwd, []byte("toor:x:0:0::/:\nroot:x:0:0::/root:\n"), 0o644))
	if p, err := s.InFile(0); err != nil || p.Login != "toor" {
		t.Errorf("uid 0 in a new file: %+v, %v, want the first of that uid", p, err)
	}
	must(t, os.Remove(s.names.Passwd))
	if p, err := s.InFile(0); err == nil || errors.Is(err, ErrNoUser) {
		t.Errorf("uid 0 without a file: %+v, %v, want an error for now (A36)", p, err)
	}
}

package vhost

import (
	"crypto/rand"
	"errors"
	"fmt"

	"postoffice/internal/disk"
	"postoffice/vhost/index"
)

// Indexes say where those of large passwd files are kept, so that they take no memory, and
// need not be made again at the next start.
type Indexes struct {
	FS     disk.FS
	Dir    string      // absolute, and nobody else's
	UID    int         // who we are
	Secret []byte      // the same at each start, and nobody else's
	Note   func(error) // told when they can't be kept, once until they can, or one is damaged
}

// kept are the indexes in files.
type kept struct {
	dir  index.Dir
	note func(error)

	failing chan struct{} // holds one while they can't be kept
}

func randomKey() index.Key {
	secret := make([]byte, 16)
	rand.Read(secret) // never fails
	return index.NewKey(secret, "")
}

// KeepIndexes has the indexes of large files kept from here on; nobody has asked yet.
func (s *Store) KeepIndexes(o Indexes) {
	s.key = index.NewKey(o.Secret, "names of virtual domains")
	s.kept = &kept{note: o.Note, failing: make(chan struct{}, 1), dir: index.Dir{
		FS: o.FS, Path: o.Dir, UID: o.UID, Key: index.NewKey(o.Secret, "indexes of virtual domains"),
		Keep: func() (func(string) bool, error) {
			list, err := s.domains.current()
			if err != nil {
				return nil, err
			}
			return func(name string) bool { _, ok := list.byName[name]; return ok }, nil
		},
	}}
}

// openKept opens the index of a passwd file, nil where there is none that is good.
func (s *Store) openKept(p *place, info disk.Info) *userIndex {
	seen := disk.VersionOf(info)
	if s.kept == nil || p.isSpoilt(1) || !seen.Is(info) {
		return nil
	}
	t, broken, ok, err := s.kept.dir.Open(p.domain, info)
	if errors.Is(err, index.ErrDamaged) {
		s.kept.note(err)
	}
	if !ok {
		return nil // whether another can be written is found out then
	}
	x := &userIndex{seen: seen, key: s.key, at: t}
	if broken != "" {
		x.broken = errors.New(broken)
	}
	return x
}

// keep puts a new index into a file, and leaves it in memory where that can't be.
func (s *Store) keep(p *place, x *userIndex, info disk.Info) {
	if s.kept == nil || p.isSpoilt(2) {
		return
	}
	made := index.Made{Of: info}
	if x.broken != nil {
		made.Words = x.broken.Error()
	}
	t, err := s.kept.dir.Write(p.domain, made, x.at)
	if err != nil {
		select {
		case s.kept.failing <- struct{}{}:
			s.kept.note(err)
		default: // it was said
		}
		return
	}
	select {
	case <-s.kept.failing:
	default:
	}
	x.at = t
}

// spoil has an index be made anew that was found damaged: in a file again, but in memory
// where that comes twice.
func (s *Store) spoil(domain string, x *userIndex, why error) {
	s.kept.note(fmt.Errorf("virtual domain %s: %w", domain, why))
	p := s.place(domain)
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.index == x {
		p.use(nil)
		p.spoilt++
	}
}

// isSpoilt reports whether so many indexes in files were damaged.
func (p *place) isSpoilt(n int) bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.spoilt >= n
}

//go:build linux

package privsep

import (
	"context"
	"fmt"
	"io/fs"
	"iter"
	"strings"
	"testing"
	"time"

	"postoffice/applets/privsep/birth"
	"postoffice/applets/privsep/creds"
	"postoffice/deliver/local"
	"postoffice/deliver/local/mailbox"
	"postoffice/deliver/outcome"
	"postoffice/internal/account"
	"postoffice/internal/disk"
)

// nowhereFS is a disk on which every mailbox is empty and swallows all: what is
// left of a delivery is the link, the thread and the look for a .forward.
type nowhereFS struct{}

func (nowhereFS) OpenDir(path string) (disk.Dir, error) {
	if path == benchHome {
		return disk.OS().OpenDir(path)
	}
	return nowhereDir{}, nil
}

const benchHome = "/tmp"

type nowhereDir struct{ disk.Dir }

func (nowhereDir) Names() iter.Seq2[string, error] { return func(func(string, error) bool) {} }
func (nowhereDir) Lstat(string) (disk.Info, error) {
	return disk.Info{Mode: 0o600, Nlink: 1, UID: firstUID}, nil
}
func (nowhereDir) Create(string, fs.FileMode) (disk.File, error)  { return nowhereFile{}, nil }
func (nowhereDir) Open(string, disk.Access) (disk.File, error)    { return nowhereFile{}, nil }
func (nowhereDir) Unlink(string) error                            { return nil }
func (nowhereDir) RenameNoReplace(string, disk.Dir, string) error { return nil }
func (nowhereDir) Sync() error                                    { return nil }
func (nowhereDir) Close() error                                   { return nil }

type nowhereFile struct{ disk.File }

func (nowhereFile) Allocate(int64, int64) error           { return nil }
func (nowhereFile) Stat() (disk.Info, error)              { return nowhereDir{}.Lstat("") }
func (nowhereFile) Write(p []byte) (int, error)           { return len(p), nil }
func (nowhereFile) ReadAt(p []byte, _ int64) (int, error) { return len(p), nil }
func (nowhereFile) TryLockRecord() (bool, error)          { return true, nil }
func (nowhereFile) Sync() error                           { return nil }
func (nowhereFile) Close() error                          { return nil }

// BenchmarkDeliver is the way of a delivery through the link and back, all in
// one process: with and without the switch of ids.
func BenchmarkDeliver(b *testing.B) {
	self := account.Account{Name: "u0", UID: firstUID, GID: firstUID, Home: benchHome}
	for _, bb := range []struct {
		name string
		size int
		as   func(account.Account, int, func() error) error
	}{
		{"link 4 KiB", 4 << 10, func(_ account.Account, _ int, f func() error) error { return f() }},
		{"link and ids 4 KiB", 4 << 10, creds.As},
		{"link and ids 1 MiB", 1 << 20, creds.As},
	} {
		b.Run(bb.name, func(b *testing.B) {
			ours, theirs, err := birth.Pair()
			if err != nil {
				b.Fatal(err)
			}
			peer, err := birth.Conn(theirs)
			if err != nil {
				b.Fatal(err)
			}
			m := newMaster(b.Context(), MasterOptions{Mailboxes: mailbox.Options{FS: nowhereFS{}, Dir: "/", Accounts: account.Only(self), As: bb.as}})
			s := newServerLife(m, &child{conn: newConn(ours, toMaster(), toServer()), cmd: noProcess()})
			l := newLink(peer)
			go l.read()
			done := make(chan error)
			go func() { done <- s.read() }()
			body := strings.Repeat("x", bb.size)
			b.SetBytes(int64(bb.size))
			for i := 0; b.Loop(); i++ {
				token := fmt.Sprint("t", i)
				if r := l.Deliver(context.Background(), token, local.Delivery{User: "u0", Final: true, Body: strings.NewReader(body)}); r.Action != outcome.Delivered {
					b.Fatal(r)
				}
				l.Recorded(token)
			}
			l.conn.close()
			<-done
		})
	}
}

// BenchmarkUser is what goes through a user's process: a run of a program that
// does nothing but read 4 KiB, in one that is there and in one that is started
// for it; and a list of 50,000 lines.
func BenchmarkUser(b *testing.B) {
	self := account.Account{Name: "u0", UID: firstUID, GID: firstUID}
	for _, bb := range []struct {
		name  string
		fresh bool
		work  func(l *Link, token string) error
	}{
		{"run", false, runOnce},
		{"start and run", true, runOnce},
		{"list", false, func(l *Link, _ string) error {
			lines, err := l.List(context.Background(), local.Listing{User: "u0", Item: local.Item{Source: local.FromAlias, Name: "lines:50000"}})
			if err == nil && len(lines) != 50_000 {
				err = fmt.Errorf("%d lines", len(lines))
			}
			return err
		}},
	} {
		b.Run(bb.name, func(b *testing.B) {
			ours, theirs, err := birth.Pair()
			if err != nil {
				b.Fatal(err)
			}
			peer, err := birth.Conn(theirs)
			if err != nil {
				b.Fatal(err)
			}
			o := MasterOptions{Mailboxes: mailbox.Options{Accounts: account.Only(self)}, Names: account.Names{NSSwitch: "/dev/null"}}
			o.Users = UserOptions{DefaultUser: "u0", RunTime: time.Minute}
			m := newMaster(b.Context(), o)
			s := newServerLife(m, &child{conn: newConn(ours, toMaster(), toServer()), cmd: noProcess()})
			l := newLink(peer)
			go l.read()
			done := make(chan error)
			go func() { done <- s.read() }()
			for i := 0; b.Loop(); i++ {
				token := fmt.Sprint("t", i)
				if err := bb.work(l, token); err != nil {
					b.Fatal(err)
				}
				l.Recorded(token)
				if bb.fresh {
					m.users.reload(o.Users)
				}
			}
			l.conn.close()
			<-done
			m.users.stop()
			m.users.watching.Wait()
		})
	}
}

func runOnce(l *Link, token string) error {
	j := local.Job{User: "u0", Item: local.Item{Source: local.FromAlias, Name: "octets"}, Body: strings.NewReader(strings.Repeat("x", 4<<10))}
	if r := l.Run(context.Background(), token, j); r.Action != outcome.Delivered {
		return fmt.Errorf("%v", r)
	}
	return nil
}

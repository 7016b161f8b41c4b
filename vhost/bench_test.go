package vhost

import (
	"bufio"
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"runtime"
	"syscall"
	"testing"
	"time"

	"postoffice/internal/dbm"
	"postoffice/internal/disk"
)

const manyUsers = 1_000_000

// million is a directory with one domain of a million users, as vpasswd writes them.
func million(b *testing.B) string {
	dir := newDir(b, "owner:v.example:1:\n", "")
	f, err := os.OpenFile(filepath.Join(dir, "v.example", PasswdFile), os.O_WRONLY|os.O_TRUNC, 0)
	must(b, err)
	w := bufio.NewWriter(f)
	for i := range manyUsers {
		fmt.Fprintf(w, "user%07d:{ARGON2ID}$argon2id$v=19$m=19456,t=2,p=1$c29tZXNhbHRzb21lc2FsdA$%042d::::::scram=SHA-256,4096,c29tZXNhbHRzb21lc2FsdA==,%043d=,%043d=\n", i, i, i, i)
	}
	must(b, w.Flush(), f.Close())
	return dir
}

// ways are with indexes in files, below a directory, and without.
func ways(b *testing.B, f func(b *testing.B, newStore func() *Store)) {
	dir := million(b)
	for _, kept := range []bool{false, true} {
		name := map[bool]string{false: "memory", true: "file"}[kept]
		b.Run(name, func(b *testing.B) {
			indexes := b.TempDir()
			must(b, os.Chmod(indexes, 0o700))
			f(b, func() *Store {
				s := New(dir, owners{})
				if kept {
					s.KeepIndexes(Indexes{FS: disk.OS(), Dir: indexes, UID: os.Getuid(), Secret: []byte("x"), Note: func(err error) { b.Error(err) }})
				}
				return s
			})
		})
	}
}

// BenchmarkFirst is the first question to a process about a domain of a million users:
// all of the passwd file is read, or the index is there from the process before.
func BenchmarkFirst(b *testing.B) {
	ways(b, func(b *testing.B, newStore func() *Store) {
		ask := func() *Store {
			s := newStore()
			_, err := s.User(b.Context(), "v.example", "user0999999")
			must(b, err)
			return s
		}
		settle(b, ask())
		var after runtime.MemStats
		begun := processorTime(b)
		var s *Store
		for b.Loop() {
			s = ask()
		}
		b.ReportMetric(float64((processorTime(b)-begun).Microseconds())/1000/float64(b.N), "cpu-ms/op")
		runtime.GC()
		runtime.ReadMemStats(&after)
		b.ReportMetric(float64(after.HeapAlloc)/(1<<20), "MiB-heap")
		runtime.KeepAlive(s)
	})
}

// BenchmarkMade is the same where the file has another identity each time.
func BenchmarkMade(b *testing.B) {
	ways(b, func(b *testing.B, newStore func() *Store) {
		s := newStore()
		settle(b, s)
		path := filepath.Join(s.dir, "v.example", PasswdFile)
		begun := processorTime(b)
		for i := 0; b.Loop(); i++ {
			long := time.Now().Add(-time.Hour - time.Duration(i)*time.Second)
			must(b, os.Chtimes(path, long, long))
			p := s.place("v.example")
			f, err := os.Open(path)
			must(b, err)
			fi, err := f.Stat()
			must(b, err)
			info := disk.InfoOf(fi)
			info.ChangeTime = info.ModTime // as if it had been so for long
			x, err := newIndex(f, disk.VersionOf(info), info.Size, s.key)
			must(b, err)
			s.keep(p, x, info)
			if x.at.InFile() != (s.kept != nil) {
				b.Fatal("it is in the wrong place")
			}
			x.at.Close()
			f.Close()
		}
		b.ReportMetric(float64((processorTime(b)-begun).Microseconds())/1000/float64(b.N), "cpu-ms/op")
	})
}

// settle asks until the file is no longer so new that it may be changed unseen, and is read
// each time.
func settle(b *testing.B, s *Store) {
	for begun := time.Now(); ; begun = time.Now() {
		_, err := s.User(b.Context(), "v.example", "user0000001")
		must(b, err)
		if time.Since(begun) < 20*time.Millisecond {
			break
		}
	}
}

// processorTime is what this process has had of the processors.
func processorTime(b *testing.B) time.Duration {
	var u syscall.Rusage
	must(b, syscall.Getrusage(syscall.RUSAGE_SELF, &u))
	return time.Duration(u.Utime.Nano() + u.Stime.Nano())
}

// BenchmarkVerifiers counts those of a million users.
func BenchmarkVerifiers(b *testing.B) {
	dir := million(b)
	begun := processorTime(b)
	for b.Loop() {
		var v Verified
		n, err := v.Without(b.Context(), New(dir, owners{}))
		must(b, err)
		if n != 0 {
			b.Fatal(n)
		}
	}
	b.ReportMetric(float64((processorTime(b)-begun).Microseconds())/1000/float64(b.N), "cpu-ms/op")
}

// BenchmarkUser is any other one, for who is there and who isn't.
func BenchmarkUser(b *testing.B) {
	ways(b, func(b *testing.B, newStore func() *Store) {
		s := newStore()
		settle(b, s)
		for name, form := range map[string]string{"there": "user%07d", "not there": "nobody%07d"} {
			b.Run(name, func(b *testing.B) {
				begun := processorTime(b)
				defer func() {
					b.ReportMetric(float64((processorTime(b)-begun).Microseconds())/float64(b.N), "cpu-us/op")
				}()
				for b.Loop() {
					_, err := s.User(b.Context(), "v.example", fmt.Sprintf(form, rand.IntN(manyUsers)))
					if form[0] == 'u' {
						must(b, err)
					}
				}
			})
		}
	})
}

// BenchmarkDatabase is what a database of internal/dbm would take for the same names.
func BenchmarkDatabase(b *testing.B) {
	dir := b.TempDir()
	build := func() string {
		path := filepath.Join(dir, "users.db")
		d, err := dbm.Create(path, dbm.Options{})
		must(b, err)
		for i := range manyUsers {
			must(b, d.Add(fmt.Appendf(nil, "user%07d", i), fmt.Append(nil, i*280)))
		}
		must(b, d.Commit())
		return path
	}
	b.Run("build", func(b *testing.B) {
		for b.Loop() {
			build()
		}
	})
	path := build()
	f, err := dbm.Open(path, dbm.Options{})
	must(b, err)
	defer f.Close()
	b.Run("fetch", func(b *testing.B) {
		for b.Loop() {
			_, err := f.Fetch(fmt.Appendf(nil, "user%07d", rand.IntN(manyUsers)))
			must(b, err)
		}
	})
}

// BenchmarkDomains is a question about one of 10,000 domains of 100 users each, of which
// none was asked for before ("first"), or all were.
func BenchmarkDomains(b *testing.B) {
	const domains, users = 10_000, 100
	dir := newDir(b, "", "bob:x\n")
	list, err := os.Create(filepath.Join(dir, DomainsFile))
	must(b, err)
	var passwd []byte
	for i := range users {
		passwd = fmt.Appendf(passwd, "user%03d:{ARGON2ID}$argon2id$v=19$m=19456,t=2,p=1$c29tZXNhbHRzb21lc2FsdA$%042d::::::scram=SHA-256,4096,c29tZXNhbHRzb21lc2FsdA==,%043d=,%043d=\n", i, i, i, i)
	}
	for i := range domains {
		name := fmt.Sprintf("d%05d.example", i)
		fmt.Fprintf(list, "owner:%s:1:\n", name)
		must(b, os.Mkdir(filepath.Join(dir, name), 0o755), os.WriteFile(filepath.Join(dir, name, PasswdFile), passwd, 0o600))
	}
	must(b, list.Close())
	var before, after runtime.MemStats
	runtime.GC()
	runtime.ReadMemStats(&before)
	s := New(dir, owners{})
	ask := func(b *testing.B, i int) {
		_, err := s.User(b.Context(), fmt.Sprintf("d%05d.example", i), fmt.Sprintf("user%03d", rand.IntN(users)))
		must(b, err)
	}
	b.Run("list", func(b *testing.B) {
		for b.Loop() {
			_, ok, err := OpenDomains(dir).Find("d09999.example")
			if !ok || err != nil {
				b.Fatal(ok, err)
			}
		}
	})
	b.Run("first", func(b *testing.B) {
		for i := 0; b.Loop(); i++ {
			ask(b, i%domains)
		}
	})
	for i := range domains {
		ask(b, i)
	}
	runtime.GC()
	runtime.ReadMemStats(&after)
	b.Run("any", func(b *testing.B) {
		for b.Loop() {
			ask(b, rand.IntN(domains))
		}
		b.ReportMetric(float64(after.HeapAlloc-before.HeapAlloc)/(1<<20), "MiB-heap")
	})
	runtime.KeepAlive(s)
}

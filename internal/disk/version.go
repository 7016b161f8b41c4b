package disk

import (
	"io/fs"
	"syscall"
	"time"
)

// Ages from which a file's times tell two writes apart. Some file systems count in
// seconds, FAT in two; others in the ticks of a kernel's clock, of which none is longer
// than 10 ms, and which on another machine may be late.
const (
	settledCoarse = 2 * time.Second
	settledFine   = 100 * time.Millisecond
)

// settled is that age for a file whose last change was at that time.
func settled(last time.Time) time.Duration {
	if last.Nanosecond()%int(time.Millisecond) == 0 {
		return settledCoarse
	}
	return settledFine
}

// A Version is a file as it was when it was read. The zero Version is of no
// file. What a fault means for what was read is left to each reader: users and
// aliases are unknown while their files can't be read (internal/account,
// internal/alias), DNS servers and the rules of clients stay what they were
// (resolver, applets/policy).
type Version struct {
	info Info
	read time.Time
}

// VersionOf returns the version of a file of which the caller has just taken
// info and which it reads now.
func VersionOf(info Info) Version { return Version{info: info, read: time.Now()} }

// IsZero reports whether v is of no file.
func (v Version) IsZero() bool { return v.read.IsZero() }

// Is reports whether info, just taken, is certainly of what was read. A file
// that had been changed shortly before it was read may have been changed again
// unseen.
func (v Version) Is(info Info) bool {
	last := v.info.ModTime
	if v.info.ChangeTime.After(last) {
		last = v.info.ChangeTime
	}
	age := v.read.Sub(last).Abs() // in the future it is of a clock that was set
	return !v.IsZero() && v.info.Unchanged(info) && age > settled(last)
}

// Unchanged reports whether nothing shows a change between two looks at a
// file.
func (i Info) Unchanged(o Info) bool {
	return i.Same(o) && i.Size == o.Size && i.Mode == o.Mode && i.ModTime.Equal(o.ModTime) && i.ChangeTime.Equal(o.ChangeTime)
}

// InfoOf returns what a FileInfo of package os tells of a file's identity and
// state: Mode, Size, Nlink, UID, GID, Dev, Ino and the times.
func InfoOf(fi fs.FileInfo) Info {
	i := Info{Mode: fi.Mode(), Size: fi.Size(), ModTime: fi.ModTime()}
	if st, ok := fi.Sys().(*syscall.Stat_t); ok {
		i.Nlink = uint64(st.Nlink)
		i.UID, i.GID, i.Dev, i.Ino = int(st.Uid), int(st.Gid), uint64(st.Dev), uint64(st.Ino)
		i.ChangeTime = changeTime(st)
	}
	return i
}

package service

import (
	"errors"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"golang.org/x/sys/unix"
)

// queueDirsFile has the queue directories that daemons of this run directory had,
// one a line, the last one first. It is gone with the run directory, as at a boot.
const queueDirsFile = "queue-dirs"

// maxQueueDirs are as many as are remembered: nobody changes queue-dir often.
const maxQueueDirs = 16

// NoteQueueDir remembers that a daemon with this queue directory starts, and returns
// former ones that still hold mail. Those that are seen to hold none are forgotten; one
// that isn't there may be on a disk that isn't mounted now.
func (r *RunDir) NoteQueueDir(dir string) (left []string, err error) {
	left, away := formerQueues(r.path, dir)
	text := dir + "\n"
	for _, l := range append(slices.Clip(left), away...) {
		text += l + "\n"
	}
	return left, r.write(queueDirsFile, 0o600, text)
}

// QueuesLeft returns queue directories that daemons of this run directory had before
// they had dir, and that hold mail. Nil where the caller may not know.
func QueuesLeft(runDir, dir string) []string {
	left, _ := formerQueues(runDir, dir)
	return left
}

// formerQueues is QueuesLeft, and those that aren't there now.
func formerQueues(runDir, dir string) (left, away []string) {
	f, err := os.OpenFile(filepath.Join(runDir, queueDirsFile), os.O_RDONLY|unix.O_NOFOLLOW|unix.O_NONBLOCK, 0)
	if err != nil {
		return nil, nil
	}
	defer f.Close()
	text, err := io.ReadAll(io.LimitReader(f, maxQueueDirs*unix.PathMax))
	if err != nil {
		return nil, nil
	}
	left = []string{}
	for line := range strings.Lines(string(text)) {
		was, whole := strings.CutSuffix(line, "\n")
		if !whole || was == dir || !filepath.IsAbs(was) || len(left)+len(away) >= maxQueueDirs || slices.Contains(left, was) || slices.Contains(away, was) {
			continue
		}
		switch there, mail := holdsMail(was); {
		case mail:
			left = append(left, was)
		case !there:
			away = append(away, was)
		}
	}
	return left, away
}

// holdsMail reports whether a directory has a queue's folders, and whether something that
// a server delivers or keeps is in one of them. The folders are their owner's, who may
// have put anything in their place.
func holdsMail(dir string) (there, mail bool) {
	for _, folder := range []string{"queue", "hold", "maildrop"} {
		d, err := os.OpenFile(filepath.Join(dir, folder), os.O_RDONLY|unix.O_DIRECTORY|unix.O_NOFOLLOW|unix.O_NONBLOCK, 0)
		if errors.Is(err, fs.ErrNotExist) {
			continue
		}
		if err != nil {
			return true, true // for all that is known
		}
		names, _ := d.Readdirnames(1)
		d.Close()
		if len(names) > 0 {
			return true, true
		}
		there = true
	}
	return there, false
}

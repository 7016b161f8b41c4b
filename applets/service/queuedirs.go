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
// former ones that still hold mail. Those that don't are forgotten.
func (r *RunDir) NoteQueueDir(dir string) (left []string, err error) {
	left = QueuesLeft(r.path, dir)
	text := dir + "\n"
	for _, l := range left {
		text += l + "\n"
	}
	return left, r.write(queueDirsFile, 0o600, text)
}

// QueuesLeft returns queue directories that daemons of this run directory had before
// they had dir, and that hold mail. Nil where the caller may not know.
func QueuesLeft(runDir, dir string) []string {
	f, err := os.OpenFile(filepath.Join(runDir, queueDirsFile), os.O_RDONLY|unix.O_NOFOLLOW|unix.O_NONBLOCK, 0)
	if err != nil {
		return nil
	}
	defer f.Close()
	text, err := io.ReadAll(io.LimitReader(f, maxQueueDirs*unix.PathMax))
	if err != nil {
		return nil
	}
	left := []string{}
	for line := range strings.Lines(string(text)) {
		was, whole := strings.CutSuffix(line, "\n")
		if whole && was != dir && filepath.IsAbs(was) && len(left) < maxQueueDirs && !slices.Contains(left, was) && holdsMail(was) {
			left = append(left, was)
		}
	}
	return left
}

// holdsMail reports whether a directory with a queue's folders has something in one of
// them that a server delivers or keeps. The folders are their owner's, who may have
// put anything in their place.
func holdsMail(dir string) bool {
	for _, folder := range []string{"queue", "hold", "maildrop"} {
		d, err := os.OpenFile(filepath.Join(dir, folder), os.O_RDONLY|unix.O_DIRECTORY|unix.O_NOFOLLOW|unix.O_NONBLOCK, 0)
		if errors.Is(err, fs.ErrNotExist) {
			continue
		}
		if err != nil {
			return true // for all that is known
		}
		names, _ := d.Readdirnames(1)
		d.Close()
		if len(names) > 0 {
			return true
		}
	}
	return false
}

package quota

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"strconv"
	"strings"

	"postoffice/internal/disk"
)

// maxRecord is how much of maildirsize is read, in octets. Who keeps it makes it anew
// where it has more than 5,120.
const maxRecord = 64 << 10

// recordName is the file in which readers keep what a Maildir has (Maildir++): a line with
// what it may have, then one for each change, of octets and messages.
const recordName = "maildirsize"

// Recorded returns what maildirsize says; ok is false where there is none that can be
// understood.
func Recorded(dir disk.Dir) (n int64, ok bool) {
	f, err := dir.Open(recordName, disk.ReadOnly)
	if err != nil {
		return 0, false
	}
	defer f.Close()
	text := make([]byte, maxRecord+1)
	k, err := f.ReadAt(text, 0)
	if err != io.EOF { // it goes on, or can't be read
		return 0, false
	}
	return parseRecord(string(text[:k]))
}

func parseRecord(text string) (n int64, ok bool) {
	lines := strings.Split(text, "\n")
	for _, line := range lines[1:] {
		words := strings.Fields(line)
		if len(words) == 0 {
			continue
		}
		size, err := strconv.ParseInt(words[0], 10, 52) // 64 KiB of them fit into n
		if len(words) != 2 || err != nil {
			return 0, false
		}
		n += size
	}
	return n, len(lines) > 1 && n >= 0
}

// Record adds messages of so many octets in all to maildirsize, where that is there.
func Record(dir disk.Dir, owner int, octets int64, messages int) error {
	f, err := dir.Open(recordName, disk.ReadWrite)
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err != nil {
		return fmt.Errorf("open %s: %w", recordName, err)
	}
	info, err := f.Stat()
	if err == nil && (info.UID != owner || info.Nlink != 1) {
		err = fmt.Errorf("it has uid %d and %d names, want %d and 1", info.UID, info.Nlink, owner)
	}
	if err == nil && info.Size <= maxRecord {
		_, err = fmt.Fprintf(f, "%d %d\n", octets, messages)
	}
	if err = errors.Join(err, f.Close()); err != nil {
		return fmt.Errorf("write %s: %w", recordName, err)
	}
	return nil
}

package mailbox

import (
	"syscall"
	"testing"

	"postoffice/internal/disk"
)

// strictDir is a home directory in which no file can have a detail's name.
type strictDir struct {
	disk.Dir
	detail, plain error
}

func (d strictDir) Lstat(name string) (disk.Info, error) {
	if name == forwardFile {
		return disk.Info{}, d.plain
	}
	return disk.Info{}, d.detail
}

// TestImpossibleDetail: a detail that can't be in a file's name has no file of
// its own; anything else that goes wrong is no "no".
func TestImpossibleDetail(t *testing.T) {
	for _, tt := range []struct {
		detail, plain error
		yes, fails    bool
	}{
		{syscall.ENAMETOOLONG, syscall.ENOENT, false, false},
		{syscall.EINVAL, syscall.ENOENT, false, false},
		{syscall.EILSEQ, nil, true, false},
		{syscall.EACCES, syscall.ENOENT, false, true},
		{syscall.ENOENT, syscall.EINVAL, false, true},
		{nil, syscall.ENOENT, true, false},
	} {
		yes, err := forwarded(strictDir{detail: tt.detail, plain: tt.plain}, "x")
		if yes != tt.yes || (err != nil) != tt.fails {
			t.Errorf("%v, %v: %v, %v", tt.detail, tt.plain, yes, err)
		}
	}
}

package install

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"syscall"

	"postoffice/applets/install/plan"
)

// readRecord is what an earlier installation has done; none is no error. One that somebody
// else could have written is refused: what stands there is removed and run.
func readRecord(r root) ([]*plan.Step, error) {
	at, err := r.followed(plan.Record)
	if err != nil {
		return nil, err
	}
	text, err := os.ReadFile(at)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	for _, name := range []string{at, filepath.Dir(at)} {
		if err := oursAlone(name); err != nil {
			return nil, err
		}
	}
	var all []*plan.Step
	for line := range bytes.Lines(text) {
		var s *plan.Step
		if err := json.Unmarshal(line, &s); err != nil {
			return nil, fmt.Errorf("%s: %w", at, err)
		}
		if s == nil {
			return nil, fmt.Errorf("%s: %.80q is no step", at, line)
		}
		all = append(all, s)
	}
	return all, nil
}

// recordable says why a record would not be believed later: its directory is not root's, as
// that of a server which runs as an ordinary user.
func recordable(r root) error {
	at, err := r.followed(plan.StateDir)
	if err == nil {
		err = ignoreMissing(oursAlone(at))
	}
	return err
}

// oursAlone refuses a file that somebody else may have written.
func oursAlone(name string) error {
	info, err := os.Lstat(name)
	if err != nil {
		return err
	}
	owner := info.Sys().(*syscall.Stat_t).Uid
	if owner != 0 && int(owner) != os.Geteuid() || info.Mode().Perm()&0o022 != 0 {
		return fmt.Errorf("%s could have been written by others than root, and is not believed: see what stands there, then chown root %[1]s; chmod go-w %[1]s", name)
	}
	return nil
}

// writeRecord keeps what is done.
func writeRecord(r root, all []*plan.Step) error {
	var b bytes.Buffer
	out := json.NewEncoder(&b)
	for _, s := range all {
		if err := out.Encode(s); err != nil {
			return err
		}
	}
	return r.write(plan.Record, b.Bytes(), 0o644)
}

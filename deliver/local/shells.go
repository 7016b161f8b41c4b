package local

import (
	"cmp"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"slices"
	"strings"
)

// maxShells is the largest list of login shells, in octets.
const maxShells = 64 << 10

// loginShell says why the user with this shell may run no programs of his own,
// or nil: only who may log in may, as with sendmail.
func loginShell(user, shell, list string) error {
	shell = cmp.Or(shell, "/bin/sh") // passwd(5)
	shells, err := readShells(list)
	if err != nil {
		return err
	}
	if slices.Contains(shells, shell) || slices.Contains(shells, anyShell) {
		return nil
	}
	return fmt.Errorf("%s can't log in, so that his programs aren't run: his shell %s is not in %s", user, shell, list)
}

// anyShell in the list lets everybody run programs, as with sendmail.
const anyShell = "/SENDMAIL/ANY/SHELL/"

// readShells reads shells(5). A list that is missing has what getusershell(3)
// says.
func readShells(path string) ([]string, error) {
	f, err := os.Open(path)
	if errors.Is(err, fs.ErrNotExist) {
		return []string{"/bin/sh", "/bin/csh"}, nil
	}
	if err != nil {
		return nil, err
	}
	defer f.Close()
	text, err := io.ReadAll(io.LimitReader(f, maxShells))
	if err != nil {
		return nil, err
	}
	var shells []string
	for line := range strings.Lines(string(text)) {
		line, _, _ = strings.Cut(line, "#")
		if line = strings.TrimSpace(line); line != "" {
			shells = append(shells, line)
		}
	}
	return shells, nil
}

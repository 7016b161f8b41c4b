package account

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

// CheckShell says why the account may run no programs of its own, or nil: only
// who may log in may, with a shell of the file list (shells(5)).
func CheckShell(a Account, list string) error {
	shell := cmp.Or(a.Shell, "/bin/sh") // passwd(5)
	shells, err := readShells(list)
	if err != nil {
		return err
	}
	if slices.Contains(shells, shell) || slices.Contains(shells, anyShell) {
		return nil
	}
	return fmt.Errorf("%s can't log in, so that their programs aren't run: the shell %s is not in %s", a.Name, shell, list)
}

// anyShell in the list lets everybody run programs: sendmail knows it too.
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

package install

import (
	"context"
	"os"
	"os/exec"
	"path"
	"path/filepath"
	"strings"

	"postoffice/applets/install/plan"
)

// ownerOf is the package whose a file is, "" where nobody says so.
func ownerOf(ctx context.Context, r root, packages plan.Packages, name string) (owner string) {
	switch packages {
	case plan.Dpkg:
		return dpkgOwner(r, name)
	case plan.Apk:
		return apkOwner(r, name)
	case plan.RPM:
		args := []string{"-qf", "--qf", "%{NAME}", name}
		if r != "" {
			args = append([]string{"--root", string(r)}, args...)
		}
		out, err := exec.CommandContext(ctx, "rpm", args...).Output()
		if err == nil {
			owner, _, _ = strings.Cut(string(out), "\n")
		}
	}
	return owner
}

// dpkgOwner reads the lists of dpkg(1): a file for each package, a name a line.
func dpkgOwner(r root, name string) (owner string) {
	dir, err := r.followed("/var/lib/dpkg/info")
	if err != nil {
		return ""
	}
	lists, err := os.ReadDir(dir)
	if err != nil {
		return ""
	}
	for _, list := range lists {
		pkg, ok := strings.CutSuffix(list.Name(), ".list")
		if !ok {
			continue
		}
		linesOf(filepath.Join(dir, list.Name()), func(line string) bool {
			if line == name {
				owner, _, _ = strings.Cut(pkg, ":")
			}
			return owner == ""
		})
		if owner != "" {
			return owner
		}
	}
	return ""
}

// apkOwner reads apk's list: P: a package, F: a directory of it, R: a file there.
func apkOwner(r root, name string) (owner string) {
	list, err := r.followed("/lib/apk/db/installed")
	if err != nil {
		return ""
	}
	var pkg, dir string
	linesOf(list, func(line string) bool {
		switch what, value, _ := strings.Cut(line, ":"); what {
		case "P":
			pkg = value
		case "F":
			dir = value
		case "R":
			if "/"+path.Join(dir, value) == name {
				owner = pkg
			}
		}
		return owner == ""
	})
	return owner
}

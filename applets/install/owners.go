package install

import (
	"context"
	"os"
	"os/exec"
	"path"
	"path/filepath"
	"slices"
	"strings"

	"postoffice/applets/install/plan"
)

// ownersOf are the packages whose files are, by name; of a file without one nothing.
func ownersOf(ctx context.Context, r root, packages plan.Packages, names []string) map[string]string {
	owners := map[string]string{}
	switch packages {
	case plan.Dpkg:
		dpkgOwners(r, names, owners)
	case plan.Apk:
		apkOwners(r, names, owners)
	case plan.RPM:
		for _, name := range names {
			args := []string{"--root", "/" + string(r), "-qf", "--qf", "%{NAME}\n", name}
			if out, err := exec.CommandContext(ctx, "rpm", args...).Output(); err == nil {
				owners[name], _, _ = strings.Cut(string(out), "\n")
			}
		}
	}
	return owners
}

// dpkgOwners reads the lists of dpkg(1): a file for each package, a name a line.
func dpkgOwners(r root, names []string, owners map[string]string) {
	dir, err := r.followed("/var/lib/dpkg/info")
	if err != nil {
		return
	}
	lists, err := os.ReadDir(dir)
	if err != nil {
		return
	}
	for _, list := range lists {
		pkg, ok := strings.CutSuffix(list.Name(), ".list")
		if !ok {
			continue
		}
		linesOf(filepath.Join(dir, list.Name()), func(line string) {
			if slices.Contains(names, line) {
				owners[line], _, _ = strings.Cut(pkg, ":")
			}
		})
	}
}

// apkOwners reads apk's list: P: a package, F: a directory of it, R: a file there.
func apkOwners(r root, names []string, owners map[string]string) {
	list, err := r.followed("/lib/apk/db/installed")
	if err != nil {
		return
	}
	var pkg, dir string
	linesOf(list, func(line string) {
		switch what, value, _ := strings.Cut(line, ":"); what {
		case "P":
			pkg = value
		case "F":
			dir = value
		case "R":
			if name := "/" + path.Join(dir, value); slices.Contains(names, name) {
				owners[name] = pkg
			}
		}
	})
}

package applets

import (
	"fmt"
	"os"
	"runtime"
	"strings"
)

// release and commit are set by the Makefile: the VERSION file, and the git
// commit the binary was built from.
var (
	release = "0.0.0"
	commit  = ""
)

// version is the release, and the commit in build metadata: 0.1.0+1a2b3c4.
func version() string {
	if commit == "" {
		return release
	}
	return release + "+" + commit
}

// versionLine answers -V: "postoffice VERSION", under another name with that
// in front.
func versionLine(program string) string {
	if strings.HasPrefix(program, "postoffice") {
		return "postoffice " + version() + "\n"
	}
	return program + ": postoffice " + version() + "\n"
}

// versionBlock answers -d0 and -d0.1 in the form of sendmail, which configure
// scripts read.
func versionBlock() string {
	node, err := os.Hostname()
	if err != nil {
		node = "localhost"
	}
	short, domain, _ := strings.Cut(node, ".")
	var b strings.Builder
	fmt.Fprintf(&b, "Version %s\n", version())
	fmt.Fprintf(&b, " Compiled with: POSTOFFICE %s %s/%s\n", runtime.Version(), runtime.GOOS, runtime.GOARCH)
	b.WriteString("\n============ SYSTEM IDENTITY (after readcf) ============\n")
	fmt.Fprintf(&b, "      (short domain name) $w = %s\n", short)
	fmt.Fprintf(&b, "  (canonical domain name) $j = %s\n", node)
	fmt.Fprintf(&b, "         (subdomain name) $m = %s\n", domain)
	fmt.Fprintf(&b, "              (node name) $k = %s\n", node)
	b.WriteString("========================================================\n")
	return b.String()
}

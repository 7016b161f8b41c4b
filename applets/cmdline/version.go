package cmdline

import (
	"fmt"
	"os"
	"runtime"
	"strings"
)

// Release is the version of this tree.
const Release = "0.1.0"

// commit is the git commit that the binary was built from; the Makefile sets it.
var commit = ""

// Version returns the release, and the commit in build metadata: 0.1.0+1a2b3c4.
func Version() string {
	if commit == "" {
		return Release
	}
	return Release + "+" + commit
}

// versionLine answers -V: "postoffice VERSION", under another name with that
// in front.
func versionLine(program string) string {
	if strings.HasPrefix(program, "postoffice") {
		return "postoffice " + Version() + "\n"
	}
	return program + ": postoffice " + Version() + "\n"
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
	fmt.Fprintf(&b, "Version %s\n", Version())
	fmt.Fprintf(&b, " Compiled with: POSTOFFICE %s %s/%s\n", runtime.Version(), runtime.GOOS, runtime.GOARCH)
	b.WriteString("\n============ SYSTEM IDENTITY (after readcf) ============\n")
	fmt.Fprintf(&b, "      (short domain name) $w = %s\n", short)
	fmt.Fprintf(&b, "  (canonical domain name) $j = %s\n", node)
	fmt.Fprintf(&b, "         (subdomain name) $m = %s\n", domain)
	fmt.Fprintf(&b, "              (node name) $k = %s\n", node)
	b.WriteString("========================================================\n")
	return b.String()
}

//go:build e2e && bench

package bench

import (
	"bufio"
	"bytes"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"postoffice/internal/e2e/lan"
)

// benchAliases is how many aliases the benchmark builds.
const benchAliases = 1_000_000

// TestBenchAliases prints how long newaliases takes for a million aliases
// beside Postfix's postalias of its default type (hash:, Berkeley DB), what a
// lookup by a fresh process costs above the start of that process, and what
// memory both need. The two take turns; each figure is the median of three
// rounds, of 50 for what takes milliseconds. The text is alike, one member for
// an alias; both sync what they build.
func TestBenchAliases(t *testing.T) {
	if only := os.Getenv("BENCH"); only != "" && !strings.Contains(only, "i") {
		return
	}
	dir := t.TempDir()
	ours, theirs := filepath.Join(dir, "ours"), filepath.Join(dir, "theirs")
	writeAliases(t, ours)
	writeAliases(t, theirs)
	root, libraries := lan.UnpackAll(t, "postfix")
	// Accounts that every Debian has: those of Postfix may never have been here.
	lan.WriteFile(t, filepath.Join(dir, "main.cf"), "compatibility_level = 3.6\nmail_owner = mail\nsetgid_group = man\n")
	postfix := func(args ...string) *exec.Cmd {
		cmd := exec.Command(filepath.Join(root, "usr/sbin/postalias"), append([]string{"-c", dir}, args...)...)
		cmd.Env = []string{"LD_LIBRARY_PATH=" + libraries + ":" + filepath.Join(root, "usr/lib/postfix")}
		return cmd
	}
	postoffice := func(args ...string) *exec.Cmd { return exec.Command(lan.Binary, args...) }
	newaliases := func() *exec.Cmd { return postoffice("newaliases", "-o", "aliases="+ours) }

	var a, b, am, bm []float64
	for range 3 {
		s, m := weighed(t, newaliases())
		a, am = append(a, s), append(am, m)
		s, m = weighed(t, postfix("hash:"+theirs))
		b, bm = append(b, s), append(bm, m)
	}
	fmt.Printf("%d aliases built: newaliases %.2f s, %.0f MiB, file %s; postalias %.2f s, %.0f MiB, file %s; ratio %.2f (aim: less than 1)\n",
		benchAliases, middle(a), middle(am), megabytes(t, ours+".db"), middle(b), middle(bm), megabytes(t, theirs+".db"), middle(a)/middle(b))

	key := fmt.Sprintf("user%07d", benchAliases/2)
	var start, lookup, query []float64
	for range 50 {
		start = append(start, timedRun(t, postoffice("-V")))
		lookup = append(lookup, timedRun(t, postoffice("dbm", "-d", ours, "fetch", key)))
		query = append(query, timedRun(t, postfix("-q", key, "hash:"+theirs)))
	}
	fmt.Printf("one lookup in a fresh process: %.2f ms, %.2f ms above its start (aim: less than 1); postalias -q %.2f ms\n",
		middle(lookup), middle(lookup)-middle(start), middle(query))
	fmt.Printf("memory of a process that looks up: %.1f MiB after 5,000 lookups\n", lookupMemory(t, ours, key))
}

func writeAliases(t *testing.T, path string) {
	t.Helper()
	f, err := os.Create(path)
	if err != nil {
		t.Fatal(err)
	}
	out := bufio.NewWriter(f)
	for i := range benchAliases {
		n := (i*7919 + 13) % benchAliases // no order that a sort could profit from
		fmt.Fprintf(out, "user%07d: someone.%07d@host%03d.example.org\n", n, n, n%1000)
	}
	if err := out.Flush(); err != nil {
		t.Fatal(err)
	}
	if err := f.Close(); err != nil {
		t.Fatal(err)
	}
}

// weighed runs a command and returns its seconds and the MiB it needed at most.
func weighed(t *testing.T, cmd *exec.Cmd) (seconds, mib float64) {
	t.Helper()
	var text bytes.Buffer
	cmd.Stdout, cmd.Stderr = &text, &text
	begin := time.Now()
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	ended := make(chan error, 1)
	go func() { ended <- cmd.Wait() }()
	tick := time.NewTicker(20 * time.Millisecond)
	defer tick.Stop()
	for {
		select {
		case err := <-ended:
			if err != nil {
				t.Fatalf("%v: %v\n%s", cmd.Args, err, text.String())
			}
			return time.Since(begin).Seconds(), mib
		case <-tick.C:
			mib = max(mib, highWater(cmd.Process.Pid))
		}
	}
}

// highWater is the most memory that a process has had resident, in MiB; 0 if
// it is gone. (getrusage counts what it was forked from too.)
func highWater(pid int) float64 {
	data, _ := os.ReadFile(fmt.Sprintf("/proc/%d/status", pid))
	for line := range strings.Lines(string(data)) {
		if f := strings.Fields(line); len(f) > 1 && f[0] == "VmHWM:" {
			kib, _ := strconv.Atoi(f[1])
			return float64(kib) / 1024
		}
	}
	return 0
}

// lookupMemory looks one key up so often that the answers don't fit in the
// pipe, weighs the process while it waits there, and reads the rest.
func lookupMemory(t *testing.T, database, key string) float64 {
	t.Helper()
	cmd := exec.Command(lan.Binary, append([]string{"dbm", "-d", database, "fetch"}, slices.Repeat([]string{key}, 5000)...)...)
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	in := bufio.NewReaderSize(out, 16)
	read := 0
	for read < 60<<10 { // 5,000 answers of 35 octets are 175,000
		n, err := in.Discard(1 << 10)
		read += n
		if err != nil {
			t.Fatal(err)
		}
	}
	mib := highWater(cmd.Process.Pid)
	if _, err := io.Copy(io.Discard, in); err != nil {
		t.Fatal(err)
	}
	if err := cmd.Wait(); err != nil {
		t.Fatal(err)
	}
	return mib
}

func timedRun(t *testing.T, cmd *exec.Cmd) (milliseconds float64) {
	t.Helper()
	begin := time.Now()
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Fatalf("%v: %v\n%s", cmd.Args, err, out)
	}
	return float64(time.Since(begin).Microseconds()) / 1000
}

func megabytes(t *testing.T, path string) string {
	t.Helper()
	info, err := os.Stat(path)
	if err != nil {
		t.Fatal(err)
	}
	return fmt.Sprintf("%.1f MB", float64(info.Size())/1e6)
}

// middle is the median.
func middle(v []float64) float64 {
	return slices.Sorted(slices.Values(v))[len(v)/2]
}

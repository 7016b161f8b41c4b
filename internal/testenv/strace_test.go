package testenv

import (
	"bufio"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
)

// TestStraceProgram is the program that the tests below trace: it syncs three
// files, and says so of each, after a line on its standard input.
func TestStraceProgram(t *testing.T) {
	dir := os.Getenv("STRACE_PROGRAM")
	if dir == "" {
		return
	}
	fmt.Println("ready")
	if _, err := bufio.NewReader(os.Stdin).ReadString('\n'); err != nil {
		os.Exit(1)
	}
	for i := range 3 {
		f, err := os.Create(filepath.Join(dir, fmt.Sprint(i)))
		if err != nil {
			os.Exit(2)
		}
		switch err := f.Sync(); {
		case errors.Is(err, syscall.ENOSPC):
			os.Exit(75)
		case err != nil:
			os.Exit(3)
		}
		fmt.Println("synced", i)
	}
	os.Exit(0)
}

var program = []string{"/proc/self/exe", "-test.run=^TestStraceProgram$"}

func traced(t *testing.T) Strace {
	exe, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	return Strace{
		Args:  append([]string{exe}, program[1:]...),
		Env:   append(os.Environ(), "STRACE_PROGRAM="+t.TempDir(), "GOMAXPROCS=1"),
		Stdin: strings.NewReader("go\n"),
	}
}

func TestStrace(t *testing.T) {
	plain := traced(t).Run(t, Injection{})
	if plain.Code != 0 || plain.Hit != "" || strings.Count(plain.Trace, "fsync(") != 3 {
		t.Errorf("without injection: code %d, hit %q\n%s", plain.Code, plain.Hit, plain.Trace)
	}
	for _, tt := range []struct {
		do   string
		code int
	}{
		{"error=ENOSPC", 75},
		{"error=EIO", 3},
		{"signal=KILL", -1},
	} {
		t.Run(tt.do, func(t *testing.T) {
			hits := EveryCall(t, []string{"fsync"}, tt.do, false, func(in Injection) Traced {
				r := traced(t).Run(t, in)
				want := tt.code
				if r.Hit == "" {
					want = 0
				}
				if synced := strings.Count(r.Stdout, "synced"); r.Code != want || r.Hit != "" && synced > 2 {
					t.Errorf("%v: code %d, want %d, %d synced, hit %q\n%s", in, r.Code, want, synced, r.Hit, r.Trace)
				}
				return r
			})
			if hits["fsync"] < 1 || hits["fsync"] > 3 {
				t.Errorf("%v", hits)
			}
		})
	}
}

func TestAttach(t *testing.T) {
	s := traced(t)
	cmd := exec.Command(s.Args[0], s.Args[1:]...)
	cmd.Env = s.Env
	in, err := cmd.StdinPipe()
	if err != nil {
		t.Fatal(err)
	}
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	lines := bufio.NewReader(out)
	if line, err := lines.ReadString('\n'); line != "ready\n" {
		t.Fatalf("%q, %v", line, err)
	}
	stop := Attach(t, cmd.Process.Pid, Injection{Call: "fsync", Do: "error=ENOSPC", When: 1})
	fmt.Fprintln(in, "go")
	_, _ = lines.ReadString(0) // to its end
	_ = cmd.Wait()
	if r := stop(); cmd.ProcessState.ExitCode() != 75 || !strings.Contains(r.Hit, "/0>") {
		t.Errorf("code %d, hit %q\n%s", cmd.ProcessState.ExitCode(), r.Hit, r.Trace)
	}
}

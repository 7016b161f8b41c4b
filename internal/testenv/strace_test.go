package testenv

import (
	"bufio"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
)

// TestStraceProgram is the program that the tests trace: it syncs three
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

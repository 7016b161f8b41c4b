package smtpd

import (
	"bufio"
	"context"
	"fmt"
	"io"
	"net"
	"os"
	"os/exec"
	"strconv"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// childServer is set in the environment of a test binary that is to be the
// server of TestStarved.
const childServer = "SMTPD_TEST_STARVED"

// serveStarved serves with 40 descriptors until standard input ends, and then
// prints the milliseconds of processor time that this took.
func serveStarved() {
	if err := unix.Setrlimit(unix.RLIMIT_NOFILE, &unix.Rlimit{Cur: 40, Max: 40}); err != nil {
		panic(err)
	}
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		panic(err)
	}
	o := options(discardQueue{})
	o.Clients = 1000
	s := New(o)
	go s.Serve(context.Background(), l, Relay)
	fmt.Println(l.Addr())
	io.Copy(io.Discard, os.Stdin)
	var used unix.Rusage
	unix.Getrusage(unix.RUSAGE_SELF, &used)
	fmt.Println((used.Utime.Nano() + used.Stime.Nano()) / 1e6)
}

// TestStarved opens more connections than the server has descriptors: it
// waits without spinning, and serves the others as the first ones leave (A73).
func TestStarved(t *testing.T) {
	cmd := exec.Command(os.Args[0])
	cmd.Env = append(os.Environ(), childServer+"=1")
	stdin, err := cmd.StdinPipe()
	if err != nil {
		t.Fatal(err)
	}
	stdout, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	defer cmd.Wait()
	defer stdin.Close()
	out := bufio.NewReader(stdout)
	addr, err := out.ReadString('\n')
	if err != nil {
		t.Fatal(err)
	}
	start := time.Now()
	var conns []net.Conn
	for range 80 {
		c, err := net.Dial("tcp", strings.TrimSpace(addr))
		if err != nil {
			t.Fatal(err)
		}
		defer c.Close()
		conns = append(conns, c)
	}
	for i, c := range conns { // each leaves when it has been greeted
		c.SetReadDeadline(time.Now().Add(time.Minute))
		if line, err := bufio.NewReader(c).ReadString('\n'); err != nil || !strings.HasPrefix(line, "220 ") {
			t.Fatalf("connection %d: %q, %v", i, line, err)
		}
		if i >= 25 { // the first keep their places for a while, so that there is a wait
			conns[i-25].Close()
		}
	}
	elapsed := time.Since(start)
	stdin.Close()
	used, err := out.ReadString('\n')
	ms, _ := strconv.Atoi(strings.TrimSpace(used))
	t.Logf("%v, of it %d ms of processor time", elapsed, ms)
	const slack = 300 * time.Millisecond // to start, and for 80 sessions
	if err != nil || time.Duration(ms)*time.Millisecond > elapsed/10+slack {
		t.Errorf("%d ms of processor time, %v", ms, err)
	}
}

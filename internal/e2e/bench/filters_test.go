//go:build e2e && bench

package bench

import (
	"bufio"
	"encoding/binary"
	"fmt"
	"io"
	"net"
	"os"
	"slices"
	"strings"
	"testing"

	"postoffice/internal/e2e/lan"
)

// TestBenchFilters prints how many messages a second are accepted through one and through
// three filters that are told all and let all pass, beside Postfix with the same filters,
// deliveries stopped; and what one filter adds to the time of a message of one session that
// is alone, of ours with it and ours without any, by turns. The filters run in this test,
// each at a socket of its own for each server.
func TestBenchFilters(t *testing.T) {
	if only := os.Getenv("BENCH"); only != "" && !strings.Contains(only, "y") {
		return
	}
	l := lan.New(t)
	l.DNS()
	for _, n := range []int{1, 3} {
		one, other := l.Host(fmt.Sprintf("ours%d.test", n)), l.Host(fmt.Sprintf("pf%d.test", n))
		var lines, sockets []string
		for i := range n {
			lines = append(lines, fmt.Sprintf("filter=%s name=f%d fail=tempfail", passing(one, i), i))
			sockets = append(sockets, "unix:"+passing(other, i))
		}
		ours := oursWith(one, append(lines, "size=0")...)
		theirs := postfixWith(other, "smtpd_milters="+strings.Join(sockets, " "), "milter_default_action=tempfail")
		workload{key: "y", mode: benchMode{queueOnly: true}, rounds: 3, each: 2000,
			lines: []line{{fmt.Sprintf("accepted through %d filters", n), "messages/s", "1.5 or more"}},
			run: func(t *testing.T, c *contender) []float64 {
				return []float64{c.accept(t, 2000, "alice@"+c.Name)}
			}}.measure(t, []*contender{ours, theirs})
	}

	one, other := l.Host("filter.test"), l.Host("none.test")
	with := oursWith(one, "filter="+passing(one, 0)+" name=f fail=tempfail", "size=0")
	without := oursWith(other, "size=0")
	with.name, without.name = "filter", "none"
	workload{key: "y", mode: benchMode{queueOnly: true}, rounds: 5,
		lines: []line{{"a message, MAIL to 250, p50", "ms", ""}, {"a message, MAIL to 250, p99", "ms", "less than 1 ms more"}},
		run: func(t *testing.T, c *contender) []float64 {
			took, err := c.transactions(500)
			if err != nil {
				t.Fatal(err)
			}
			slices.Sort(took)
			return []float64{took[len(took)/2], took[len(took)*99/100]}
		}}.measure(t, []*contender{with, without})
}

// passing starts a filter that is told all and lets all pass, and returns its socket.
func passing(h *lan.Host, i int) string {
	h.T.Helper()
	socket := h.Path(fmt.Sprintf("filter%d.sock", i))
	l, err := net.Listen("unix", socket)
	if err == nil {
		err = os.Chmod(socket, 0o777)
	}
	if err != nil {
		h.T.Fatal(err)
	}
	h.T.Cleanup(func() { l.Close() })
	go func() {
		for {
			conn, err := l.Accept()
			if err != nil {
				return
			}
			go pass(conn)
		}
	}()
	return socket
}

// pass is one conversation: "continue" to each step, and no edit.
func pass(conn net.Conn) {
	defer conn.Close()
	r := bufio.NewReaderSize(conn, 1<<16)
	for {
		var head [5]byte // size, and what it is
		if _, err := io.ReadFull(r, head[:]); err != nil {
			return
		}
		if _, err := r.Discard(int(binary.BigEndian.Uint32(head[:])) - 1); err != nil {
			return
		}
		answer := []byte{0, 0, 0, 1, 'c'}
		switch head[4] {
		case 'O': // version 6, no edits, all steps, each answered
			answer = []byte{0, 0, 0, 13, 'O', 0, 0, 0, 6, 0, 0, 0, 0, 0, 0, 0, 0}
		case 'D', 'A', 'K': // macros, abort, and the next client: nothing is said
			continue
		case 'Q':
			return
		}
		if _, err := conn.Write(answer); err != nil {
			return
		}
	}
}

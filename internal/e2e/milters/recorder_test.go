//go:build e2e

package milters

import (
	"encoding/binary"
	"fmt"
	"io"
	"net"
	"os"
	"strings"
	"sync"
	"testing"
)

// recorder stands between a mail server and a filter, and writes down what the server says:
// a line for each packet, and one for each macro.
type recorder struct {
	mu    sync.Mutex
	lines []string
}

// record listens at a socket for the server, and connects to the filter's.
func record(t *testing.T, socket, filter string) *recorder {
	t.Helper()
	l, err := net.Listen("unix", socket)
	if err == nil {
		err = os.Chmod(socket, 0o777)
	}
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { l.Close() })
	r := &recorder{}
	go func() {
		for {
			conn, err := l.Accept()
			if err != nil {
				return
			}
			go r.between(conn, filter)
		}
	}()
	return r
}

func (r *recorder) between(server net.Conn, filter string) {
	defer server.Close()
	to, err := net.Dial("unix", filter)
	if err != nil {
		r.add("trouble " + err.Error())
		return
	}
	defer to.Close()
	go func() {
		io.Copy(server, to)
		server.Close()
	}()
	for {
		var size [4]byte
		if _, err := io.ReadFull(server, size[:]); err != nil {
			return
		}
		packet := make([]byte, binary.BigEndian.Uint32(size[:]))
		if _, err := io.ReadFull(server, packet); err != nil || len(packet) == 0 {
			return
		}
		r.packet(packet[0], string(packet[1:]))
		if _, err := to.Write(append(size[:], packet...)); err != nil {
			return
		}
	}
}

// packet writes a packet down. Of macros each is a line.
func (r *recorder) packet(command byte, data string) {
	switch command {
	case 'O':
		r.add(fmt.Sprintf("O %x", data))
	case 'D':
		parts := strings.Split(strings.TrimSuffix(data[1:], "\x00"), "\x00")
		for i := 0; i+1 < len(parts); i += 2 {
			r.add(fmt.Sprintf("D%c %s=%s", data[0], strings.Trim(parts[i], "{}"), parts[i+1]))
		}
	default:
		r.add(string(command) + " " + data)
	}
}

func (r *recorder) add(line string) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.lines = append(r.lines, line)
}

// take returns the lines since the last time.
func (r *recorder) take() []string {
	r.mu.Lock()
	defer r.mu.Unlock()
	lines := r.lines
	r.lines = nil
	return lines
}

package smtp

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"strings"
	"syscall"
	"testing"
)

func TestInWords(t *testing.T) {
	tcp := &net.TCPAddr{IP: net.IPv4(127, 0, 0, 1), Port: 9}
	op := func(op string, err error) *net.OpError {
		return &net.OpError{Op: op, Net: "tcp", Source: tcp, Addr: tcp, Err: err}
	}
	refused := op("dial", os.NewSyscallError("connect", syscall.ECONNREFUSED))
	for _, tt := range []struct {
		err  error
		want string
	}{
		{nil, "<nil>"},
		{refused, "could not connect, connection refused"},
		{&net.OpError{Op: "dial", Net: "unix", Addr: &net.UnixAddr{Name: "/run/store"}, Err: os.NewSyscallError("connect", syscall.ENOENT)}, "could not connect, no such file or directory"},
		{op("dial", os.NewSyscallError("socket", syscall.EMFILE)), "could not connect, too many open files"},
		{op("dial", os.ErrDeadlineExceeded), "could not connect, no answer in time"},
		{op("dial", context.DeadlineExceeded), "could not connect, no answer in time"},
		{op("dial", syscall.ETIMEDOUT), "could not connect, connection timed out"},
		{op("read", os.NewSyscallError("read", syscall.ECONNRESET)), "connection lost, connection reset by peer"},
		{op("write", syscall.EPIPE), "connection lost, broken pipe"},
		{op("read", os.ErrDeadlineExceeded), "no answer in time"},
		{op("read", net.ErrClosed), "connection lost, this side closed it"},
		{op("read", io.EOF), "connection lost, the other side closed it"},
		{&net.OpError{Op: "read", Net: "udp", Source: tcp, Addr: tcp, Err: os.NewSyscallError("read", syscall.ECONNREFUSED)}, "connection refused"},
		{&net.OpError{Op: "remote error", Err: tls.AlertError(40)}, "the other side says handshake failure"},
		{tls.RecordHeaderError{Msg: "first record does not look like a TLS handshake"}, "first record does not look like a TLS handshake"},
		{io.ErrUnexpectedEOF, "connection lost, the other side closed it"},
		{io.EOF, "connection lost, the other side closed it"},
		{os.ErrDeadlineExceeded, "no answer in time"},
		{fmt.Errorf("around: %w, 421 bye", refused), "around: could not connect, connection refused, 421 bye"},
		{fmt.Errorf("read it: %w", io.ErrUnexpectedEOF), "read it: connection lost, the other side closed it"},
		{ErrClosing, "server ends the session"},
		{errors.New("dial tcp 127.0.0.1:9"), "dial tcp 127.0.0.1:9"},
	} {
		got := InWords(tt.err)
		if text := fmt.Sprint(got); text != tt.want {
			t.Errorf("%v: %q, want %q", tt.err, text, tt.want)
		}
		if !errors.Is(got, tt.err) {
			t.Errorf("%v is lost", tt.err)
		}
	}
}

// The kernel's and the library's own errors, not what a test takes for them.
func TestInWordsOfTheSystem(t *testing.T) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	at := l.Addr().String()
	l.Close()
	_, err = net.Dial("tcp", at)
	if want := "could not connect, connection refused"; err == nil || InWords(err).Error() != want {
		t.Errorf("%v: %v, want %s", err, InWords(err), want)
	}
	client, server := net.Pipe()
	defer server.Close()
	go io.Copy(io.Discard, server)
	go io.WriteString(server, "220 no TLS\r\n")
	err = tls.Client(client, &tls.Config{InsecureSkipVerify: true}).Handshake()
	if err == nil || strings.Contains(InWords(err).Error(), "tls:") {
		t.Errorf("%v: %v", err, InWords(err))
	}
}

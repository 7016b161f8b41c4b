package service

import (
	"fmt"
	"net"
	"os"
	"strings"
	"time"

	"golang.org/x/sys/unix"
)

// Notify tells the service manager (sd_notify(3)) a state: "READY=1",
// "STOPPING=1". Without NOTIFY_SOCKET it does nothing.
func Notify(state string) error {
	path := os.Getenv("NOTIFY_SOCKET")
	if path == "" {
		return nil
	}
	if !strings.HasPrefix(path, "/") && !strings.HasPrefix(path, "@") {
		return fmt.Errorf("NOTIFY_SOCKET=%q: want a path or an abstract name", path)
	}
	c, err := net.DialUnix("unixgram", nil, &net.UnixAddr{Name: path, Net: "unixgram"}) // "@" is abstract there too
	if err != nil {
		return fmt.Errorf("notify the service manager: %w", err)
	}
	defer c.Close()
	if err := c.SetWriteDeadline(time.Now().Add(time.Second)); err != nil {
		return err
	}
	if _, err := c.Write([]byte(state)); err != nil {
		return fmt.Errorf("notify the service manager: %w", err)
	}
	return nil
}

// stopSpare is what a service has beyond the time that it gives its own work to end in, for
// what comes behind that.
const stopSpare = 10 * time.Second

// Stopping is the state for an end that begins now and may take that long: the service
// manager kills nobody before, whatever time it gives others (TimeoutStopSec=).
func Stopping(within time.Duration) string {
	return fmt.Sprintf("STOPPING=1\nEXTEND_TIMEOUT_USEC=%d", (within + stopSpare).Microseconds())
}

// Reloading is the state for a reload that begins now: the service manager
// wants to know when, to tell it from an older one.
func Reloading() string {
	const monotonic = 1 // on Linux: systemd(1) is nowhere else
	var now unix.Timespec
	if err := unix.ClockGettime(monotonic, &now); err != nil {
		return "RELOADING=1"
	}
	return fmt.Sprintf("RELOADING=1\nMONOTONIC_USEC=%d", now.Nano()/1000)
}

package service

import (
	"os"
	"syscall"
)

// Signals are what people send to a server: to end it, to have its configuration
// read again (SIGHUP), to turn auditing on or off (SIGUSR1). SIGUSR2 means nothing
// yet, and must not end it.
func Signals() []os.Signal {
	return []os.Signal{syscall.SIGHUP, syscall.SIGINT, syscall.SIGTERM, syscall.SIGTSTP, syscall.SIGUSR1, syscall.SIGUSR2}
}

// Ends reports whether a signal of these ends a server. SIGTSTP does, as it always
// did: a server that is stopped, and holds its ports, would keep its clients
// waiting.
func Ends(s os.Signal) bool {
	return s == syscall.SIGINT || s == syscall.SIGTERM || s == syscall.SIGTSTP
}

// Package manage is postoffice status, stop, reload and restart: what init scripts ask of a
// server, with the exit codes that LSB gives to them.
//
// The server is known by its control socket: whoever listens there is the process that is
// meant, by the kernel's word, whatever it is called. Where systemd has started it, it is
// systemd that stops and restarts it.
//
// Files:
//   - manage.go: the programs
//   - find.go: the server that runs, and its end
package manage

// Package checkrelay tries the way to a smarthost: it connects, looks at the
// certificate, logs in, and sends nothing.
//
// root's part of it reads the password and hands it to a process of the server-user's,
// which alone hears what the smarthost says.
//
// Files:
//
//	check.go  the check, and what it says
//	task.go   what is to be tried, with all that it takes
package checkrelay

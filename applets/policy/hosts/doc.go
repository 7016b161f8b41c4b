// Package hosts reads the language of hosts_access(5), in which hosts.allow and
// hosts.deny say who may connect, and judges clients by it.
//
// It reads no file by itself, runs no command, asks no name server and keeps no
// clock: the texts of the files and what is known of a client are given to it.
//
// Where the language has dialects, that of hosts_options(5) is read: allow and
// deny at the end of a rule, and setenv, whose variables WHY and DENY carry the
// reason that a client is told. A line that can't be understood doesn't count and
// is told, and the others go on.
//
// Files:
//
//	hosts.go    Client, Verdict, Judge
//	parse.go    a file's lines, their fields, options and problems
//	pattern.go  one pattern, and lists of them with EXCEPT
//	table.go    the rules of a file, and which of them can match a client
package hosts

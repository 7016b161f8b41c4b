// Package trymilter shows a message to a mail filter and tells step by step what the
// filter says: postoffice milter test. Nothing is delivered.
//
// root's part of it reads configuration and message and hands them to a process of the
// server-user's, which alone hears what the filter says.
//
// Files:
//
//	task.go  what is tried
//	try.go   the trial, and what it says
package trymilter

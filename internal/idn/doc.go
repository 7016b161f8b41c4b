// Package idn gives domains outside ASCII in the form that DNS and SMTP without
// SMTPUTF8 have for them: A-labels (RFC 5891). It alone imports
// golang.org/x/net/idna.
//
// It never decides where such a domain is taken.
//
//	idn.go       by the tables of Unicode
//	idn_lite.go  without them, in the lite build
package idn

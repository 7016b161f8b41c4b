// Package idn gives domains outside ASCII in the form that DNS and SMTP without
// SMTPUTF8 have for them: A-labels (RFC 5891), and names of accounts in the form in which
// logins compare them. It alone imports golang.org/x/net/idna and
// golang.org/x/text/unicode/norm.
//
// It never decides where such a domain or name is taken.
//
//	idn.go       by the tables of Unicode
//	idn_lite.go  without them, in the lite build
package idn

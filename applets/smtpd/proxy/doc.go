// Package proxy reads what those in front of a server say of whom they pass on: the
// header of the PROXY protocol, versions 1 and 2 (HAProxy's doc/proxy-protocol.txt), and
// the command XCLIENT (Postfix's XCLIENT_README).
//
// It reads the octets of a header and none behind them, believes what they say, and never
// decides who may say it: see applets/smtpd.
//
// Files:
//
//	proxy.go   the header, in both versions
//	xclient.go the command
package proxy

// Package proxy reads the header of the PROXY protocol, versions 1 and 2, by which a
// balancer in front of a server tells whose connection it passes on (HAProxy's
// doc/proxy-protocol.txt).
//
// It reads the header's octets and none behind them, believes what they say, and never
// decides who may send one: see applets/smtpd.
//
// Files:
//
//	proxy.go the reader of both versions
package proxy

package proxy

import (
	"errors"
	"net/netip"
	"strconv"
	"strings"

	"postoffice/internal/smtp"
)

// XClientNames are the attributes of XCLIENT, as EHLO's reply offers them.
const XClientNames = "NAME ADDR PORT PROTO HELO LOGIN DESTADDR DESTPORT"

// An XClient is what XCLIENT says of a client: nil is what it doesn't say.
type XClient struct {
	Name     *Name
	Addr     *netip.Addr // the zero Addr is not known; never IPv4-mapped
	Port     *uint16     // 0 is not known
	Extended *bool       // it says EHLO
	Hello    *string     // "" is not known
	Login    *string     // "" is none
	DestAddr *netip.Addr // the address that it came to
	DestPort *uint16
}

// Name is what DNS says of an address.
type Name struct {
	Text  string // "" is none
	Later bool   // DNS doesn't say now
}

// What stands in the place of a value.
const (
	unavailable = "[UNAVAILABLE]"
	later       = "[TEMPUNAVAIL]"
)

// maxValue is how many octets a value of XCLIENT has at most, decoded.
const maxValue = 255

var (
	errAttribute = errors.New("the attributes are " + XClientNames)
	errXtext     = errors.New("a value is xtext of at most 255 octets") // maxValue
	errAddr      = errors.New("an address is one of IPv4, or IPV6: and one of IPv6")
	errPort      = errors.New("a port is a number up to 65535")
	errProto     = errors.New("PROTO is SMTP or ESMTP")
)

// ParseXClient reads the arguments of XCLIENT. Values are xtext, and names are in
// letters of any size.
func ParseXClient(args string) (x XClient, err error) {
	params, err := smtp.ParseParams(args)
	if err != nil {
		return x, err
	}
	for _, p := range params {
		if err := x.set(p); err != nil {
			return XClient{}, err
		}
	}
	return x, nil
}

// set takes one attribute.
func (x *XClient) set(p smtp.Param) (err error) {
	text := smtp.DecodeXtext(p.Value)
	if !smtp.IsXtext(p.Value) || len(text) > maxValue {
		return errXtext
	}
	known := !smtp.EqualFold(text, unavailable) && !smtp.EqualFold(text, later)
	if !known && p.Name != "NAME" {
		text = ""
	}
	switch p.Name {
	case "NAME":
		x.Name = &Name{Text: text}
		if !known {
			x.Name = &Name{Later: smtp.EqualFold(text, later)}
		}
	case "ADDR":
		x.Addr, err = toldAddr(text)
	case "PORT":
		x.Port, err = toldPort(text)
	case "PROTO":
		extended := smtp.EqualFold(text, "ESMTP")
		if x.Extended = &extended; known && !extended && !smtp.EqualFold(text, "SMTP") {
			return errProto
		}
	case "HELO":
		x.Hello = &text
	case "LOGIN":
		x.Login = &text
	case "DESTADDR":
		x.DestAddr, err = toldAddr(text)
	case "DESTPORT":
		x.DestPort, err = toldPort(text)
	default:
		return errAttribute
	}
	return err
}

// toldAddr reads an address; "" is one that is not known.
func toldAddr(text string) (*netip.Addr, error) {
	if text == "" {
		return new(netip.Addr), nil
	}
	const tag = "IPV6:"
	six := len(text) > len(tag) && smtp.EqualFold(text[:len(tag)], tag)
	if six {
		text = text[len(tag):]
	}
	a, err := netip.ParseAddr(text)
	if err != nil || a.Is6() != six || a.Zone() != "" {
		return nil, errAddr
	}
	a = a.Unmap()
	return &a, nil
}

// toldPort reads a port; "" is one that is not known.
func toldPort(text string) (*uint16, error) {
	if text == "" {
		return new(uint16), nil
	}
	n, err := strconv.ParseUint(text, 10, 16)
	if err != nil || strings.HasPrefix(text, "+") {
		return nil, errPort
	}
	port := uint16(n)
	return &port, nil
}

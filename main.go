// Mail servers of devices, and of old authorities, have certificates with a negative serial
// number, and RFC 5280 section 4.1.2.2 wants them read: else mail goes there in the clear, or,
// where TLS is demanded, never.

//go:debug x509negativeserial=1

// Postoffice is a small mail server: one program that is sendmail, smtpd,
// mailq and runq by the name it is called by.
package main

import (
	"os"

	"postoffice/applets"
)

func main() { os.Exit(applets.Main(os.Args)) }

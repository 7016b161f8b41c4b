// Postoffice is a small mail server: one program that is sendmail, smtpd,
// mailq and runq by the name it is called by.
package main

import (
	"os"

	"postoffice/applets"
)

func main() { os.Exit(applets.Main(os.Args)) }

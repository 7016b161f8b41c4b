// Package sysexits names the exit codes of sysexits(3), with which a mail
// program tells its caller what became of the message.
//
// It holds constants only; applets has the one table from errors to codes.
package sysexits

// The exit codes, with what they mean for postoffice.
const (
	OK          = 0  // done
	Usage       = 64 // the command line is wrong
	DataErr     = 65 // the input is wrong
	NoInput     = 66 // a file named on the command line can't be read
	NoUser      = 67 // no recipient is good, or there is no sender
	NoHost      = 68 // no such host
	Unavailable = 69 // refused for good
	Software    = 70 // a fault in the program itself
	OSErr       = 71 // the system lacks something: a port, a process
	OSFile      = 72 // a system file is missing or insecure
	CantCreate  = 73 // an output file can't be made
	IOErr       = 74 // reading or writing failed
	TempFail    = 75 // try again later
	Protocol    = 76 // the other side broke the protocol
	NoPerm      = 77 // the caller may not do this
	Config      = 78 // postoffice.cf or -o is wrong
)

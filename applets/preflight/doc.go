// Package preflight looks at what a configuration needs of the machine before mail is
// trusted to it: directories and files, ports, and what is to be done where something is
// missing.
//
// It makes, binds and changes nothing. `postoffice config --check` says all that it
// finds; a server logs at its start, and at a reload, what doesn't keep it from starting,
// and ends with the same words where its own attempt fails for what does.
//
// Files:
//
//	filters.go   how mail filters are to be reached
//	finding.go   what is found, and how grave it is
//	greylist.go  options of the greylist
//	held.go      who holds a port
//	paths.go     the list of looks: one for each kind of path
//	ports.go     addresses and ports to listen on
//	virtual.go   the files and directories of virtual domains
//	remedies.go  what to do about errors with directories and ports, and their exit codes
package preflight

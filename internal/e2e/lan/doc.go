// Package lan makes what the end-to-end tests run on: a bridge with hosts, each a
// network namespace and a mount namespace with a passwd, hosts and resolv.conf of
// its own; on the hosts the real binary, a DNS server, and other mail servers,
// which are unpacked from Debian's packages and never installed.
//
// Everything is sent to addresses of namespaces that it made, and it ends only
// processes that it started. Mounts, namespaces and files go with the test.
// Several test processes may run at once.
//
// The files carry the build tag e2e, and the tests run as root.
//
//	main.go      TestMain: what is needed, the binary, mounts of our own
//	lan.go       the bridge, hosts, accounts, commands on a host
//	process.go   servers that a test starts
//	site.go      postoffice on a host
//	dns.go       names, listening ports, swaks
//	packages.go  packages, unpacked once for all tests
//	postfix.go   Postfix on a host
//	exim.go      Exim on a host
//	net.go       sockets and processes in a host's namespace
//	client.go    an SMTP client, one command at a time
//	disk.go      small and full file systems, quotas, scripts
//	hung.go      file systems that do not answer
//	memory.go    what processes weigh
//	messages.go  delivered messages, and where two texts part
//	files.go     files, and waiting for what comes
package lan

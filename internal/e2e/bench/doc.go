// Package bench compares postoffice with Postfix on the same machine. It asserts
// nothing; `make bench` runs it with the build tags e2e and bench, and
// docs/performance.md says what the figures mean.
//
//	bench_test.go  accepting, delivering, relaying, submitting
//	weigh_test.go  waiting times and memory
//	checks_test.go what the checks of clients cost
//	login_test.go  logins beside Dovecot's, and mail beside logins
//	virtual_test.go
//	               recipients in virtual domains with many users
//	tls_test.go    what TLS costs, and many idle connections
//	list_test.go   a list of 50,000 members
//	alias_test.go  a database of a million aliases
//	greylist_test.go
//	               decisions of the greylist, beside Postfix that asks postgrey
//	store_test.go  what the server keeps: ten million records
//	filters_test.go
//	               mail through filters that let all pass
//	sametime_test.go
//	               whether refused logins can be told apart by their time
//	floor_test.go  what the disk alone gives, and where the figures come from
package bench

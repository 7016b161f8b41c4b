// Package bench compares postoffice with Postfix on the same machine. It asserts
// nothing; `make bench` runs it with the build tags e2e and bench, and
// docs/performance.md says what the figures mean.
//
//	bench_test.go  accepting, delivering, relaying, submitting
//	weigh_test.go  waiting times and memory
//	checks_test.go what the checks of clients cost
//	list_test.go   a list of 50,000 members
//	alias_test.go  a database of a million aliases
//	floor_test.go  what the disk alone gives, and where the figures come from
package bench

// Package house holds the rules of the house, as tests over its own sources:
// who imports whom, what is not called, what a start may cost.
//
//	layers_test.go   the import table
//	size_test.go     files of a package, lines of a file and of a function
//	files_test.go    each doc.go lists its package's files
//	rules_test.go    rules that are cited are defined
//	logging_test.go  the page of the log has each event and field
//	banned_test.go   calls, types and words that don't belong here
//	limits_test.go   the page of limits, made from the code
//	replies_test.go  the page of replies, made from the code
//	main_test.go     where they run
//	crash_test.go    what runs suites of power cuts is named so
//	roles_test.go    what a test binary is that the code under test starts
//	make_test.go     what make says and installs
//	start_test.go    size, start-up and reproducible builds
package house

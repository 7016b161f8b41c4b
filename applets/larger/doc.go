// Package larger is the programs that need what a small build (make lite) leaves out. There
// they say so, and what to do instead.
//
// Files:
//
//	larger.go, larger_lite.go the programs, and what stands for them
package larger

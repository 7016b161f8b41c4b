// Package logins puts together whose passwords are asked: several sources in their order
// as one (option auth).
//
// Files:
//
//	open.go    the sources that the option names
//	inorder.go the sources, one after the other
//	secret.go  what the salts of names that there aren't are made from
package logins

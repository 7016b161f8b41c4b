// Package dbm keeps keys and values in a database file.
package dbm

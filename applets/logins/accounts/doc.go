// Package accounts logs in to accounts whose hashes this process can read. It runs where
// no stranger is: in the process of virtual domains, or of the machine's own accounts.
//
// Invariants:
//   - A name that there isn't, a wrong password, an account that is closed and one whose
//     hash can't be read take a hash each and get the same answer (A66).
//   - No answer and no error holds a password, a hash or a verifier.
//   - Guesses at one account from everywhere have a bound of their own, and whoever has
//     logged in to it lately isn't kept out by them.
//
// Files:
//
//	source.go  the Source, and one exchange
//	guesses.go how often an account may be guessed at
package accounts

// Package install is postoffice install and postoffice uninstall: the program takes
// sendmail's place on a machine, or in another root, by itself, and gives it back.
//
// applets/install/plan decides what is done; here are the facts for it, and the hands.
//
// Invariants:
//   - In another root no name leads out of it, and nothing of it is run but where the words
//     say so.
//   - A file appears whole under its name or not at all.
//   - What was done is recorded before it is done, where root alone can write.
//
// Files:
//   - install.go: the two programs
//   - facts.go, owners.go: what is found on the machine; which package a file is of
//   - carry.go: carrying a step out
//   - undo.go: taking one back
//   - record.go: what was done, kept for who takes it back
//   - accounts.go: making accounts
//   - root.go: names below another root
package install

// Package account says who is who on this machine: it looks up local users and
// their groups, and checks names.
//
// It never changes ids and never looks into a home directory.
//
// Invariants:
//   - Only a definite answer is ErrNoUser. A passwd file that can't be read, is
//     empty or breaks off in a line, and a getent that fails, are other errors:
//     the users are unknown now, not gone (A36).
//   - A name that passes CheckName is one path element and no option of any
//     program (A19, A20).
//   - What getent knows is asked for without rights, by a uid that no account
//     has (A76), by 4 programs at a time, and is kept for a minute within 1 MiB:
//     whoever asks, one System for a process (Machine) does it.
//
// The files:
//   - account.go: Account, the look-up interface, what names may be
//   - passwd.go: the passwd file, read again when it has changed
//   - system.go: System, the machine's own accounts
//   - names.go: which files and programs are asked, nsswitch.conf(5)
//   - getent.go: what no file has: the one place where getent is run
//   - groups.go: the groups of an account
//   - alone.go: whether the account is alone in its group
//   - shells.go: shells(5), who may log in
//   - unowned.go: uids that no account has
package account

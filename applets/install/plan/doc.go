// Package plan says what installing comes to, from what is found: steps as values, in their
// order, or the reasons why nothing is done. The same for taking it back.
//
// It reads no disk and runs nothing: applets/install finds the facts and carries steps out.
//
// Invariants:
//   - What stands at a name of ours and isn't ours is moved aside in the way of that system,
//     or refused; nothing is overwritten.
//   - A plan for a machine that has been installed in is good for it again.
//   - Steps that people may have changed the outcome of, as files of text, leave it as it is.
//
// Files:
//   - facts.go: what is found, and where to look
//   - step.go: a step, and its words
//   - plan.go: accounts, directories, the program and its names
//   - system.go: the ways of systems: mailer.conf, alternatives, services
//   - undo.go: taking it back
package plan

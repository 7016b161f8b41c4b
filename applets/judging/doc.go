// Package judging has mail judged that may be bad: by the program of option av, and what
// programs of this machine submit once it is in the queue.
//
// It knows no option file and no session, and delivers nothing: what it needs of others are
// functions of its Options.
//
// Invariants:
//   - A message that can't be judged now waits, and goes back only when it has waited too
//     long, as mail for another machine does.
//   - A few are judged at once, those from whom they come take turns, and nobody has all
//     places.
//   - What a judgement makes of a message is durable before anybody may deliver it.
//
// Files:
//
//	scanner.go  the program of option av: how many at once, and whose turn it is
//	waiting.go  what waits in the queue: whose turn it is, and pauses while nobody judges
//	later.go    what becomes of a message that can't be judged now
//	filtered.go what filters say of it
//	verdict.go  what becomes of a message that was judged
package judging

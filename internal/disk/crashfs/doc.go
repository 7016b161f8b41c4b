// Package crashfs is a disk in memory whose power can be cut between any two
// calls, for tests of whatever works through package disk.
//
// # The model
//
// Every file has data that is on the disk for certain, as of its last sync,
// and changes since; every directory has names that are durable and moves
// since. A crash leaves what is certain and a part of the rest:
//
//   - names: any subset of the moves, or any prefix of each directory's. A
//     rename is atomic but may be absent; it is durable once the directory
//     that gets the file is synced, and not by a sync of the other one or of
//     the file (SetJournal: by any sync, as on ext4);
//   - data: of each write any prefix in octets, independently, and any length
//     the file has had, so that a length may come without its data (then there
//     are zeros or old octets) and data without its length; one octet
//     overwritten is old or new;
//   - owner, mode and time: as of the last sync or as set;
//   - a failed sync: what was pending is gone for good, stays visible until
//     the crash, and is reported once to every open handle; the next sync
//     succeeds;
//   - the process killed: all that was written is visible, its locks are gone,
//     and what was pending still is.
//
// Hard links share their file. There are no permissions and no symbolic links
// but those a test plants.
//
// # The suites
//
// A scenario does its work through a disk.FS and calls ack when somebody
// outside has been told that something is done; a check gets the disk after
// the crash with what had been acknowledged, recovers and complains:
//
//	func TestAccept(t *testing.T) {
//		accept := func(d disk.FS, ack func(string)) error {
//			q, err := spool.Open(spool.Options{FS: d, Dir: "/q"})
//			if err != nil {
//				return err
//			}
//			...
//			ack("m1") // the client has seen 250
//			return nil
//		}
//		crashfs.EveryStep(t, accept, check)  // power cuts and kills at every call
//		crashfs.EveryError(t, accept, check) // EIO, ENOSPC, … at every call
//		crashfs.Run{}.EveryRoom(t, accept, check)
//		crashfs.Run{}.EveryStepTwice(t, accept, recovery, check, 0)
//		crashfs.Interleave(t, 10_000, actors, check)
//	}
//
// A failure says after which call, what was left, which seed, and what the
// check saw; the same seed (POSTOFFICE_CRASH_SEED) gives the same image.
// POSTOFFICE_CRASH_IMAGES sets the random images at each point (20), for long
// runs. Disks that are equal, with equal acknowledgements, are checked once.
//
// # Mutants
//
// A suite is believed once it has failed with each single safeguard left out.
// Shipped code has no hook for that: the disk knows by the caller's line which
// call is whose, and leaves out, one line at a time, each file sync, directory
// sync, exclusive create (also Link and RenameNoReplace), lock, and second
// look after a lock that the suites pass:
//
//	func TestCrashMutants(t *testing.T) {
//		crashfs.Mutants(t, func(t testing.TB) {
//			crashfs.EveryStep(t, accept, check)
//			crashfs.Interleave(t, 200, twoRunners, check)
//		}, crashfs.Allowed{Kind: crashfs.Sync, Where: "spool/note.go", Reason: "a lost note costs an early retry"})
//	}
//
// The line that counts is the innermost one in shipped code outside package
// disk: what several callers share through one helper of their package is one
// place. A suite must make the situations that a safeguard is for: for an
// exclusive create a name that comes twice, for a lock a second process, for
// the look after it a file that goes or moves between open and lock.
//
// Files:
//
//	fs.go      the file system, its processes and calls
//	dir.go, file.go, handle.go
//	           directories and files
//	state.go   what is on the disk, and what may be lost
//	image.go   what a power cut may leave
//	fault.go   errors of calls
//	gate.go    programs side by side, in chosen orders
//	run.go     EveryStep
//	twice.go   a crash in the recovery
//	errors.go  EveryError, EveryRoom
//	runner.go  the work of all of these, and the points of a run
//	check.go   how failures of checks are told
//	mutant.go  safeguards left out
//	plant.go   files to begin with
package crashfs

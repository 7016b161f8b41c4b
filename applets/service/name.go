package service

import "os"

// Name is what ps(1), pgrep(1) and killall(1) call the processes of a server.
const Name = "postoffice"

// TakeName gives this process its Name: the kernel names a process after the file
// that was executed, which is "exe" for /proc/self/exe. Where that isn't possible,
// as elsewhere than on Linux, nothing is worse than before. A process that hides
// from others of its user can't do it any more.
func TakeName() { _ = os.WriteFile("/proc/self/comm", []byte(Name), 0) }

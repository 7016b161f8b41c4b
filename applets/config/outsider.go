package config

import (
	"os"
	"strings"
)

// overflowUID is what the kernel shows for an owner who has no number in a user
// namespace: its default in /proc/sys/kernel/overflowuid.
const overflowUID = 65534

// Outsider reports whether uid stands for somebody outside our user namespace
// (user_namespaces(7)). No process in the namespace can be that user; root of the
// machine is among those who may.
func Outsider(uid int) bool {
	if uid != overflowUID {
		return false
	}
	text, err := os.ReadFile("/proc/self/uid_map") // absent where there are no namespaces
	return err == nil && strings.Join(strings.Fields(string(text)), " ") != "0 0 4294967295"
}

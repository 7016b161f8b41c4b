package envelope

import "testing"

// TestClientOwner: for whom a connection by TCP from this machine counts is what the server
// has put behind its brackets, and gives nobody the rights of a program's user.
func TestClientOwner(t *testing.T) {
	for client, want := range map[string]int{
		OwnedBy("localhost[127.0.0.1]:4000", 1000): 1000,
		OwnedBy("us.example[2001:db8::1]:4000", 0): 0,
		"localhost[127.0.0.1]:4000":                -1,
		"localhost[127.0.0.1]:4000 uid -1":         -1,
		"localhost[127.0.0.1]:4000 uid 1 uid 2":    -1,
		"x uid 1000[127.0.0.1]:4000":               -1, // a name is anybody's to choose
		"localhost uid 1000":                       -1,
		"alice[uid 1000]":                          -1,
		"bounce":                                   -1,
	} {
		uid, ok := ClientOwner(client)
		if ok != (want >= 0) || ok && uid != want {
			t.Errorf("%s: %d, %v, want %d", client, uid, ok, want)
		}
		if _, program := ClientUID(client); program != (client == "alice[uid 1000]") {
			t.Errorf("%s is a program's: %v", client, program)
		}
		if _, ok := ClientAddr(client); ok != (client[len(client)-1] != ']' && client != "bounce" && client != "localhost uid 1000") {
			t.Errorf("%s has an address: %v", client, ok)
		}
	}
}

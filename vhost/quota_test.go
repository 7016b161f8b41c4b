package vhost

import "testing"

// TestQuota: what a line says of the mailbox's bound is read as Dovecot reads it, and
// what can't be understood is told.
func TestQuota(t *testing.T) {
	for _, tt := range []struct {
		extra string
		want  int64
		bad   bool
	}{
		{"", 0, false},
		{"scram=SHA-256,1,a,b,c allow_nets=10.0.0.0/8", 0, false},
		{"userdb_quota_rule=*:storage=1G", 1 << 30, false},
		{"userdb_quota_rule=*:storage=10", 10 << 10, false}, // KiB
		{"userdb_quota_rule=*:storage=100M:messages=1000", 100 << 20, false},
		{"userdb_quota_rule=*:messages=1000", 0, false},
		{"userdb_quota_rule=*:bytes=12345", 12345, false},
		{"userdb_quota_rule=*:storage=0", Unbound, false},
		{"userdb_quota_rule=*:ignore", Unbound, false},
		{"userdb_quota_rule=Trash:storage=+100M", 0, false},
		{"userdb_quota_rule2=Trash:storage=+10% userdb_quota_rule=*:storage=2kB", 2048, false},
		{"scram=x userdb_quota_storage_size=5MB", 5 << 20, false},
		{"userdb_quota_storage_size=700", 700, false}, // octets
		{"userdb_quota_storage_size=0", Unbound, false},
		{"userdb_quota_rule=*:storage=1X", 0, true},
		{"userdb_quota_rule=*:storage=-1", 0, true},
		{"userdb_quota_rule=*:storage=", 0, true},
		{"userdb_quota_rule=*", 0, true},
		{"userdb_quota_storage_size=9999999999T", 0, true},
		{"userdb_quota_storage_size=99999999999999999999", 0, true},
	} {
		u, err := parseUser("bob:x::::::" + tt.extra)
		if err != nil {
			t.Fatal(err)
		}
		if n, err := u.Quota(); n != tt.want || (err != nil) != tt.bad {
			t.Errorf("%q: %d, %v; want %d, an error %v", tt.extra, n, err, tt.want, tt.bad)
		}
	}
}

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

// TestQuotaSize: what people write is what Quota reads of each of Dovecot's words.
func TestQuotaSize(t *testing.T) {
	for text, want := range map[string]int64{"500M": 500 << 20, "2G": 2 << 30, "1k": 1 << 10, "3gib": 3 << 30, "1234": 1234, "0": Unbound, "00": Unbound, "0M": Unbound,
		"": 0, "-1": 0, "1X": 0, "M": 0, "none": 0, "1G userdb_uid=0": 0, "9999999999T": 0, "1G:messages=1": 0} {
		size, err := QuotaSize(text)
		if (err == nil) != (want != 0) {
			t.Errorf("%q: %q, %v", text, size, err)
		}
		for _, word := range []string{ruleWord + "*:storage=", sizeWord} {
			if u, err := parseUser("bob:x::::::" + word + size); err != nil {
				t.Error(err)
			} else if n, err := u.Quota(); want != 0 && (n != want || err != nil) {
				t.Errorf("%q is %s%s: %d, %v, want %d", text, word, size, n, err, want)
			}
		}
	}
}

//go:build e2e

package installs

import "testing"

// TestStatusOfHung: a server whose process is stopped is known, and its state is not; it can
// be told to end all the same.
func TestStatusOfHung(t *testing.T) {
	r := busyboxRoot(t)
	r.Run(t, `
echo 'log = file:/var/log/postoffice.log' >/etc/postoffice.cf
echo 'listen = 127.0.0.1:25' >>/etc/postoffice.cf
/root/postoffice install
for p in /proc/[0-9]*; do case $(tr '\0' ' ' <$p/cmdline) in 'postoffice: server'*) kill -STOP ${p#/proc/}; stopped=${p#/proc/};; esac; done
until [ -z "$(grep -L '^State:.T' /proc/$stopped/task/*/status)" ]; do sleep 0.1; done # each thread of it
code=0; postoffice status || code=$?; [ $code = 4 ]
kill -CONT $stopped
postoffice status
rm /run/postoffice/control
code=0; postoffice status || code=$?; [ $code = 4 ] || [ $code = 0 ] # it makes that anew
until postoffice status; do sleep 0.2; done
postoffice stop
code=0; postoffice status || code=$?; [ $code = 3 ]
`)
}

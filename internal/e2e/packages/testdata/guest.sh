# The beginning of what runs under systemd: the package's files at their places, and a
# user alice. $dir is the test's directory.
cd "$dir"
install -m 755 postoffice /usr/sbin/postoffice
for name in sendmail runq smtpd newaliases; do ln -sf postoffice /usr/sbin/$name; done
ln -sf ../sbin/sendmail /usr/lib/sendmail
ln -sf ../sbin/postoffice /usr/bin/mailq
cp packaging/systemd/* /etc/systemd/system/
cp packaging/postoffice.cf /etc/postoffice.cf
printf 'postmaster: root\n' >/etc/aliases
systemd-sysusers "$dir/packaging/sysusers/postoffice.conf"
systemd-tmpfiles --create "$dir/packaging/tmpfiles/postoffice.conf"
useradd -m alice
systemctl daemon-reload

# until LIMIT CONDITION: wait for it, LIMIT tenths of a second.
await() {
	n=0
	until eval "$2"; do
		n=$((n + 1))
		if [ $n -gt "$1" ]; then
			echo "never: $2"
			mailq || true
			systemctl --no-pager status postoffice postoffice-relay || true
			exit 1
		fi
		sleep 0.1
	done
}

# After guest.sh: a Red Hat without postoffice, as far as its rpm sees one, where a
# made-up postfix is the mail server.
rm -rf /usr/sbin/postoffice /usr/sbin/sendmail /usr/sbin/runq /usr/sbin/smtpd /usr/sbin/newaliases \
	/usr/lib/sendmail /usr/bin/mailq /usr/bin/newaliases /etc/postoffice.cf /etc/systemd/system/postoffice* \
	/var/spool/postoffice /var/lib/postoffice
userdel postoffice
userdel postoffice-alias
printf 'root: alice\n' >>/etc/aliases
# Debian's update-alternatives has the options of Red Hat's alternatives.
ln -sf /usr/bin/update-alternatives /usr/sbin/alternatives
# Red Hat enables no service that it doesn't name; Debian would each.
mkdir -p /etc/systemd/system-preset
echo 'disable *' >/etc/systemd/system-preset/99-default-disable.preset
# The made-up rpm provides what rpm would look for in Red Hat's own.
cat >/tmp/postfix.spec <<'SPEC'
Name: postfix
Version: 1
Release: 1
Summary: a made-up mail server
License: none
BuildArch: noarch
AutoReqProv: no
Provides: /bin/sh /usr/sbin/alternatives
%description
It has port 25.
%install
mkdir -p %{buildroot}/usr/sbin %{buildroot}/usr/bin %{buildroot}/usr/lib/systemd/system
printf '#!/bin/sh\ncat >>/run/by-postfix\n' >%{buildroot}/usr/sbin/sendmail.postfix
printf '#!/bin/sh\necho Mail queue is empty\n' >%{buildroot}/usr/bin/mailq.postfix
printf '[Service]\nExecStart=/usr/bin/python3 -m http.server 25\n[Install]\nWantedBy=multi-user.target\n' >%{buildroot}/usr/lib/systemd/system/postfix.service
%post
alternatives --install /usr/sbin/sendmail mta /usr/sbin/sendmail.postfix 100 --slave /usr/bin/mailq mta-mailq /usr/bin/mailq.postfix
%files
%attr(755, root, root) /usr/sbin/sendmail.postfix
%attr(755, root, root) /usr/bin/mailq.postfix
/usr/lib/systemd/system/postfix.service
SPEC
HOME=/root rpmbuild --quiet --define '_topdir /tmp/rpm' -bb /tmp/postfix.spec
rpm --install /tmp/rpm/RPMS/noarch/postfix-1-1.noarch.rpm
systemctl daemon-reload
systemctl enable --now postfix

# leads NAME: sendmail is NAME's.
leads() {
	[ "$(readlink /etc/alternatives/mta)" = /usr/sbin/sendmail.$1 ]
	[ "$(readlink /etc/alternatives/mta-mailq)" = /usr/bin/mailq.$1 ]
}

# no COMMAND ...: it fails, which sh -e would not look at after a "!".
no() {
	if "$@"; then
		echo "it did: $*"
		exit 1
	fi
}

#!/bin/sh
# Install what the tests need from Debian, or say what is missing.
# Each line: a program (or file) that shows that the package is there, and the package.
set -eu

needs() {
	cat <<-LIST
	gcc gcc
	/usr/include/stdlib.h libc6-dev
	make make
	git git
	ip iproute2
	ss iproute2
	nft nftables
	setpriv util-linux
	unshare util-linux
	nsenter util-linux
	perl perl
	/usr/sbin/opendkim opendkim
	/usr/lib/python3/dist-packages/dkim/__init__.py python3-dkim
	/usr/lib/python3/dist-packages/Milter/__init__.py python3-milter
	swaks swaks
	openssl openssl
	/etc/ssl/certs/ca-certificates.crt ca-certificates
	/usr/share/doc/libnet-ssleay-perl libnet-ssleay-perl
	unbound unbound
	strace strace
	systemd-socket-activate systemd
	python3 python3
	/usr/share/doc/python3-milter python3-milter
	/usr/share/perl5/Sendmail/PMilter.pm libsendmail-pmilter-perl
	script bsdutils
	mount mount
	losetup mount
	mkfs.ext4 e2fsprogs
	mkfs.xfs xfsprogs
	mkfs.btrfs btrfs-progs
	/bin/busybox busybox-static
	qemu-aarch64-static qemu-user-static
	podman podman
	runc runc
	mandoc mandoc
	fail2ban-regex fail2ban
	pgrep procps
	/usr/share/zoneinfo/Etc/GMT-14 tzdata
	dpkg dpkg
	apt-get apt
	mmdebstrap mmdebstrap
	lintian lintian
	rpm rpm
	rpm2cpio rpm2cpio
	rpmlint rpmlint
	cpio cpio
	apparmor_parser apparmor
	bash bash
	LIST
}

missing=$(needs | while read -r thing package; do
	case $thing in
	/*) [ -e "$thing" ] || echo "$package" ;;
	*) command -v "$thing" >/dev/null || [ -x "/usr/sbin/$thing" ] || echo "$package" ;;
	esac
done | sort -u | tr '\n' ' ')

if [ -n "$missing" ]; then
	if [ "$(id -u)" != 0 ]; then
		echo "the tests need these Debian packages: $missing" >&2
		echo "hint: sudo apt-get install $missing" >&2
		exit 1
	fi
	apt-get -q update
	# No daemon that comes along is to be started.
	policy=/usr/sbin/policy-rc.d
	if [ ! -e $policy ]; then
		printf '#!/bin/sh\nexit 101\n' >$policy
		chmod 755 $policy
		trap 'rm -f $policy' EXIT
	fi
	DEBIAN_FRONTEND=noninteractive apt-get -q -y install --no-install-recommends $missing
elif [ "$(id -u)" = 0 ] && ! ls /var/lib/apt/lists/*Packages* >/dev/null 2>&1; then
	apt-get -q update # peers are downloaded as packages and unpacked
fi

# shellcheck shell=bash
# Debian packages: which are missing, and installing them. Sourced, never run.
#
# Rule: apt is asked for by name only, never given a source, a pin or a key; a service that a package brings is not
# started (policy-rc.d says so for the time of the installation), except where a caller starts it itself.

# missing_packages NAME...: print those that are not installed.
missing_packages() {
	local name
	for name in "$@"; do
		[ "$(dpkg-query -W -f '${db:Status-Status}' "$name" 2>/dev/null)" = installed ] || printf '%s\n' "$name"
	done
}

# require_apt WHAT: packages can be installed here, or say why not.
require_apt() {
	command -v apt-get >/dev/null ||
		die "$1 is missing, and this is no Debian or Ubuntu, so it cannot be installed from here" "install $1 and try again"
	[ "$(id -u)" = 0 ] || die "$1 is missing, and only root can install it" "sudo make, or install $1 and try again"
}

# hold_services, release_services: Debian starts what it installs (nginx would take port 80) unless policy-rc.d says no.
hold_services() {
	[ ! -e /usr/sbin/policy-rc.d ] || return 0
	printf '#!/bin/sh\nexit 101\n' >/usr/sbin/policy-rc.d
	chmod 755 /usr/sbin/policy-rc.d
	held_services=yes
}
release_services() {
	[ "${held_services-}" != yes ] || rm -f /usr/sbin/policy-rc.d
	held_services=no
}

apt_get() {
	DEBIAN_FRONTEND=noninteractive apt-get -y -o DPkg::Lock::Timeout=180 -o Acquire::Retries=3 "$@"
}

# install_packages NAME...: those of them that are missing.
install_packages() {
	local wanted log status=0
	mapfile -t wanted < <(missing_packages "$@")
	[ "${#wanted[@]}" -gt 0 ] || return 0
	require_apt "${wanted[*]}"
	log=$(mktemp /tmp/fastroute-apt.XXXXXX.log)
	quietly "$log" "apt-get update" apt_get update ||
		die "apt-get update does not work" "make 'apt-get update' work on this machine, then try again"
	hold_services
	quietly "$log" "installing Debian packages: ${wanted[*]}" apt_get install --no-install-recommends "${wanted[@]}" || status=$?
	release_services
	[ "$status" = 0 ] || die "these packages cannot be installed: ${wanted[*]}" "see $log"
	rm -f "$log"
}

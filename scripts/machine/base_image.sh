# shellcheck shell=bash
# The base image debian:trixie-slim: pulled, or, where no registry answers, built from Debian's own packages. Sourced.
#
# The one we build has, beyond Debian, what makes apt and pip work on this machine: its package mirrors, its
# certificates and its pip settings. It is an ordinary local image: `docker pull debian:trixie-slim` replaces it.

BUILT_IMAGE=debian:trixie-slim
BASE_IMAGE=${FASTROUTE_BASE_IMAGE:-$BUILT_IMAGE}
BASE_SUITE=trixie
REGISTRY_SECONDS=20

base_image_exists() { timeout 20 docker image inspect "$BASE_IMAGE" >/dev/null 2>&1; }

# base_image_needs: what ensure_base_image will do when the image is missing, in words.
base_image_needs() {
	if [ "$BASE_IMAGE" != "$BUILT_IMAGE" ]; then
		printf '%s\n' "pull the image $BASE_IMAGE"
	else
		printf '%s\n' "pull the image $BASE_IMAGE; should no registry answer, install mmdebstrap and build it from this machine's Debian mirrors"
	fi
}

ensure_base_image() {
	base_image_exists && return 0
	pull_base_image || build_base_image
}

# pull_base_image: a registry has REGISTRY_SECONDS for its first answer, then as long as the layers take.
pull_base_image() {
	local log pid started=$SECONDS status=0
	log=$(mktemp /tmp/fastroute-pull.XXXXXX.log)
	say "pulling $BASE_IMAGE ..."
	docker pull "$BASE_IMAGE" </dev/null >"$log" 2>&1 &
	pid=$!
	while kill -0 "$pid" 2>/dev/null; do
		sleep 0.3
		if ! grep -q 'Pulling from' "$log" && [ $((SECONDS - started)) -ge "$REGISTRY_SECONDS" ]; then
			kill "$pid" 2>/dev/null
			printf 'no answer within %s s\n' "$REGISTRY_SECONDS" >>"$log"
		fi
	done
	wait "$pid" || status=$?
	if [ "$status" != 0 ]; then say "no registry gives $BASE_IMAGE: $(tail -n 1 "$log" | cut -c 1-200)"; fi
	rm -f "$log"
	[ "$status" = 0 ] && base_image_exists
}

build_base_image() {
	local scratch
	[ "$BASE_IMAGE" = "$BUILT_IMAGE" ] ||
		die "FASTROUTE_BASE_IMAGE=$BASE_IMAGE cannot be pulled, and only $BUILT_IMAGE can be built here" "let the engine reach its registry, 'docker load' it, or unset FASTROUTE_BASE_IMAGE"
	[ "$(id -u)" = 0 ] || die "$BASE_IMAGE cannot be pulled, and only root can build it" "sudo make, or 'docker load' the image"
	command -v apt-get >/dev/null ||
		die "$BASE_IMAGE cannot be pulled, and this is no Debian to build it from" "'docker load' $BASE_IMAGE, or let the engine reach a registry"
	install_packages mmdebstrap debian-archive-keyring ca-certificates python3
	scratch=$(mktemp -d /tmp/fastroute-base.XXXXXX)
	base_sources "$scratch"
	mkdir "$scratch/certificates"
	python3 "$MACHINE/machine_certificates.py" "$scratch/certificates"
	python3 "$MACHINE/pip_settings.py" >"$scratch/pip.conf"
	apt-config dump 2>/dev/null | grep -iE '^Acquire::(http|https)::Proxy ' >"$scratch/apt-proxy.conf" || true
	quietly "$scratch/log" "building $BASE_IMAGE from Debian's packages" bootstrap_base "$scratch" ||
		die "$BASE_IMAGE could not be built" "$(base_cure "$scratch/log")"
	step "importing $BASE_IMAGE" import_base "$scratch/base.tar" || die "docker import failed" "see 'df /var/lib/docker' and $ENGINE_LOG"
	rm -rf "$scratch"
}

# base_sources FOLDER: this machine's own Debian mirrors, for trixie.
base_sources() {
	# Which of the machine's sources are Debian's own is in what apt-get update fetched.
	if ! apt-get indextargets 'Created-By: Packages' 2>/dev/null | grep -q '^Origin: Debian$'; then
		quietly "$1/log" "apt-get update" apt_get update || die "apt-get update does not work" "correct /etc/apt/sources.list*"
	fi
	apt-get indextargets 'Created-By: Packages' | python3 "$MACHINE/base_sources.py" "$BASE_SUITE" >"$1/debian.sources" ||
		die "this machine's apt sources name no mirror of Debian's" "add one, or 'docker load' $BASE_IMAGE"
}

bootstrap_base() {
	local hooks=(
		"--customize-hook=copy-in $1/pip.conf /etc"
		"--customize-hook=mkdir -p \"\$1/usr/local/share/ca-certificates/machine\""
		"--customize-hook=cp -r $1/certificates/. \"\$1/usr/local/share/ca-certificates/machine/\""
		"--customize-hook=chroot \"\$1\" update-ca-certificates"
	)
	local keyring
	if [ -s "$1/apt-proxy.conf" ]; then
		hooks+=("--customize-hook=cp $1/apt-proxy.conf \"\$1/etc/apt/apt.conf.d/90machine-proxy\"")
	fi
	# A mirror that signs with a key of its own needs it inside, too; Debian's own keys come with the package.
	for keyring in $(sed -n 's/^Signed-By: //p' "$1/debian.sources" | sort -u); do
		hooks+=("--customize-hook=[ -e \"\$1$keyring\" ] || install -D -m 644 $keyring \"\$1$keyring\"")
	done
	# What debian:trixie-slim leaves out, too.
	mmdebstrap --mode=root --variant=minbase --include=ca-certificates \
		--dpkgopt='path-exclude=/usr/share/doc/*' --dpkgopt='path-include=/usr/share/doc/*/copyright' \
		--dpkgopt='path-exclude=/usr/share/man/*' --dpkgopt='path-exclude=/usr/share/info/*' \
		--dpkgopt='path-exclude=/usr/share/locale/*' --dpkgopt='path-include=/usr/share/locale/locale.alias' \
		"${hooks[@]}" "$BASE_SUITE" "$1/base.tar" "$1/debian.sources"
}

import_base() {
	docker import --change 'CMD ["bash"]' --change 'LABEL org.fastroute.base=mmdebstrap' "$1" "$BASE_IMAGE" >/dev/null
}

base_cure() {
	case $(tail -n 40 "$1") in
	*NO_PUBKEY* | *'not signed'* | *'could not be verified'*)
		printf "bring debian-archive-keyring up to date (apt-get install debian-archive-keyring), so that it knows %s's key" "$BASE_SUITE" ;;
	*'Could not resolve'* | *'onnection refused'* | *'onnection timed out'*) printf 'let this machine reach its Debian mirror' ;;
	*'does not have a Release file'* | *404*) printf 'the mirror has no %s: name one that has in /etc/apt/sources.list*' "$BASE_SUITE" ;;
	*'o space left'*) printf 'free some disk space under /tmp' ;;
	*) printf 'see the log %s' "$1" ;;
	esac
}

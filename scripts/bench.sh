#!/usr/bin/env bash
# make bench: our router beside uWSGI's own, a minimal relay in C and none. ARGS=--quick for under three minutes.
. "$(dirname "$0")/machine/stand.sh"

install_packages nginx uwsgi-core uwsgi-plugin-python3 wrk strace gcc libc6-dev iproute2 util-linux
ensure_environment

# The compiled build, in an environment of its own, where it can be made.
builds=()
compile() {
	"$compiled/bin/pip" install --require-hashes --requirement requirements/build.lock &&
		"$compiled/bin/pip" install --require-hashes --requirement requirements/runtime.lock &&
		FASTROUTE_COMPILE=1 "$compiled/bin/pip" install --no-deps --no-build-isolation .
}
headers=$("$VENV/bin/python" -c 'import sysconfig; print(sysconfig.get_path("include"))')
if [ -e "$headers/Python.h" ]; then
	compiled=$(realpath -m "$VENV-compiled")
	[ -x "$compiled/bin/python" ] || "$VENV/bin/python" -m venv "$compiled"
	log=$(mktemp /tmp/fastroute-compile.XXXXXX.log)
	if quietly "$log" "compiling the relay" compile; then
		builds=(--build "fastroute-compiled=$compiled/bin/fastroute-router")
		rm -f "$log"
	else
		say "without the compiled build (see $log)"
	fi
else
	say "no Python.h in $headers: without the compiled build"
fi
# In a network of its own: half a million short connections a minute fill the machine's connection tracking (which Docker
# turns on), and then packets are dropped, ours and everybody's.
network=()
if unshare --net true 2>/dev/null; then
	network=(unshare --net bash -c 'ip link set lo up && exec "$@"' bench)
else
	say "no network namespace may be made here: if turns fail, look for 'nf_conntrack: table full' in the kernel's log"
fi
exec "${network[@]}" "$VENV/bin/python" -m benchmarks "${builds[@]}" "$@"

#!/usr/bin/env bash
# make bench: our router beside uWSGI's own, a minimal relay in C and none. ARGS=--quick for under three minutes.
. "$(dirname "$0")/machine/stand.sh"

install_packages nginx uwsgi-core uwsgi-plugin-python3 wrk strace gcc libc6-dev iproute2 util-linux
ensure_environment

# The compiled build, where it can be made.
builds=()
if (ensure_compiled_environment); then
	builds=(--build "fastroute-compiled=$(compiled_path)/bin/fastroute-router")
else
	say "going on without the compiled build"
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

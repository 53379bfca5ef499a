#!/usr/bin/env bash
# make bench-fronts: CPU per request of nginx and our router, by what is spoken between them and by kind of worker.
. "$(dirname "$0")/machine/stand.sh"

install_packages nginx uwsgi-core uwsgi-plugin-python3 wrk gcc libc6-dev iproute2 util-linux
ensure_environment
ensure_compiled_environment
# As in bench.sh: short connections fill the machine's connection tracking.
network=()
if unshare --net true 2>/dev/null; then network=(unshare --net bash -c 'ip link set lo up && exec "$@"' bench); fi
exec "${network[@]}" "$VENV/bin/python" -m benchmarks.peers.cost --router "$(compiled_path)/bin/fastroute-router" "$@"

#!/usr/bin/env bash
# make bench-queue: quick requests beside slow ones, with and without max, and beside HAProxy. ARGS=--quick: 2 minutes.
. "$(dirname "$0")/machine/stand.sh"

install_packages nginx haproxy uwsgi-core wrk iproute2 util-linux
ensure_environment
# As in bench.sh, a network of its own.
network=()
if unshare --net true 2>/dev/null; then network=(unshare --net bash -c 'ip link set lo up && exec "$@"' bench); fi
exec "${network[@]}" "$VENV/bin/python" -m benchmarks.queueing "$@"

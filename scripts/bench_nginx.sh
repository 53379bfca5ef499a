#!/usr/bin/env bash
# make bench-nginx: nginx mode beside router mode: reloads, CPU per request, time to route. About a minute.
. "$(dirname "$0")/machine/stand.sh"

install_packages nginx uwsgi-core uwsgi-plugin-python3 wrk iproute2 util-linux
ensure_environment
# As in bench.sh: short connections fill the machine's connection tracking.
network=()
if unshare --net true 2>/dev/null; then network=(unshare --net bash -c 'ip link set lo up && exec "$@"' bench); fi
exec "${network[@]}" "$VENV/bin/python" -m benchmarks.nginx_mode "$@"

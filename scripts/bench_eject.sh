#!/usr/bin/env bash
# make bench-eject: one of three workers answers 500, behind our router and behind Traefik.
. "$(dirname "$0")/machine/stand.sh"

install_packages nginx uwsgi-core wrk iproute2
ensure_environment
PYTHONPATH=tests exec "$VENV/bin/python" -m benchmarks.eject "$@"

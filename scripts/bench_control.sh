#!/usr/bin/env bash
# make bench-control: how soon routes follow Docker's events, and what watching costs. ARGS="--real 10 --fake 1000" for less.
. "$(dirname "$0")/machine/stand.sh"

install_packages gcc libc6-dev
ensure_environment
ensure_docker "make bench-control"
exec "$VENV/bin/python" -m benchmarks.control "$@"

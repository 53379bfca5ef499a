#!/usr/bin/env bash
# make bench-swarm: routers with 100,000 nodes of 100 engines. ARGS="--engines 10 --routers 3": others.
. "$(dirname "$0")/machine/stand.sh"

ensure_environment
exec "$VENV/bin/python" -m benchmarks.swarm "$@"

#!/usr/bin/env bash
# make bench-announce: 10,000 nodes announced at once, by UDP and unix, with and without the secret. ARGS="--rounds 1": less.
. "$(dirname "$0")/machine/stand.sh"

ensure_environment
exec "$VENV/bin/python" -m benchmarks.announcing "$@"

#!/usr/bin/env bash
# make chaos: SECONDS (600) of kill -9, reloads and upgrades of everything that serves, under 200 requests a second.
# Fails when a request was lost that was not in flight in what was killed. SEED (1) makes another run.
seconds=${CHAOS_SECONDS:-600}
. "$(dirname "$0")/machine/stand.sh"

install_packages nginx uwsgi-core uwsgi-plugin-python3
ensure_environment
say "make chaos: $seconds seconds of kills, reloads and upgrades, seed ${SEED:-1}"
PYTHONPATH=tests exec "$VENV/bin/python" -m soak.chaos "$seconds" "${SEED:-1}"

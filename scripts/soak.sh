#!/usr/bin/env bash
# make soak: SECONDS (600) of joins, leaves, kills and abuse under load through nginx, then a summary.
# Fails when a request was lost that no kill explains, or when a process grew. SEED (1) makes another run.
seconds=${SOAK_SECONDS:-600}
. "$(dirname "$0")/machine/stand.sh"

install_packages nginx uwsgi-core uwsgi-plugin-python3
ensure_environment
say "make soak: $seconds seconds of trouble, seed ${SEED:-1}"
PYTHONPATH=tests exec "$VENV/bin/python" -m soak.main "$seconds" "${SEED:-1}"

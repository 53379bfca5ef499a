#!/usr/bin/env bash
# make rollouts: fastroute-ctl rollout of services with 1, 2 and 5 replicas, ROUNDS times each, at 200 requests a second,
# with versions that are bad in some way, and killed at each step.
. "$(dirname "$0")/machine/stand.sh"

install_packages nginx uwsgi-core uwsgi-plugin-python3 iproute2
ensure_environment
ensure_docker "make rollouts"
FASTROUTE_ROLLOUTS="${ROUNDS:-10}" exec "$VENV/bin/python" -m pytest -s tests/docker/test_rollouts.py "$@"

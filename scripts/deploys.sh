#!/usr/bin/env bash
# make deploys: plain deploys of services with one container each, ROUNDS times, at 100 requests a second to each.
. "$(dirname "$0")/machine/stand.sh"

install_packages nginx uwsgi-core uwsgi-plugin-python3 iproute2
ensure_environment
ensure_docker "make deploys"
FASTROUTE_DEPLOYS="${ROUNDS:-10}" exec "$VENV/bin/python" -m pytest -s tests/docker/test_deploys_of_one.py "$@"

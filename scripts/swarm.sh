#!/usr/bin/env bash
# make swarm: compose/swarm.yaml on a real swarm of engines of its own, every change and accident under load (docs/swarm.md).
#
# The engines live in network and mount namespaces of their own, under a folder that is removed at the end; the
# machine's engine builds the images and is only read from. Needs root, about 15 minutes, and 3 GB for a while.
#   FASTROUTE_SWARM_TAG    take the images of this tag as they are, and build nothing
#   FASTROUTE_SWARM_RATE   requests a second, 200
. "$(dirname "$0")/machine/stand.sh"

[ "$(id -u)" = 0 ] || die "only root can start engines" "sudo make swarm"
install_packages nginx uwsgi-core uwsgi-plugin-python3 iproute2
ensure_environment
ensure_docker "make swarm"
if [ -z "${FASTROUTE_SWARM_TAG-}" ]; then
	for image in nginx socket-proxy foo router; do
		target=$image
		[ "$image" != router ] || target=fastroute
		step "building fastroute-$image" docker build -q --target "$target" -t "fastroute-$image:swarm" .
	done
fi
# In namespaces of its own: no address of these tests is known to the machine, and mounts end with them.
exec unshare --net --mount env FASTROUTE_SWARM=1 "$VENV/bin/python" -m pytest -s tests/swarm "$@"

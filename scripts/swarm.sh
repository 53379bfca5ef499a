#!/usr/bin/env bash
# make swarm: examples/swarm on a single-node swarm of its own, in an engine of its own: every task replaced under load.
#
# The engine lives in a network and mount namespace of its own, under a folder that is removed at the end; the engine
# that builds the images is only read from. Needs root, about 2 minutes, and 1 GB for a while.
. "$(dirname "$0")/machine/stand.sh"

[ "$(id -u)" = 0 ] || die "only root can start an engine" "sudo make swarm"
command -v dockerd >/dev/null || die "dockerd is missing" "make up installs it"

home=$(mktemp -d /tmp/fastroute-swarm.XXXXXX)
export inner="docker --host unix://$home/docker.sock"
clean_up() {
	local status=$?
	trap - EXIT
	if [ -s "$home/docker.pid" ]; then
		timeout 30 $inner swarm leave --force >/dev/null 2>&1 || true
		kill "$(cat "$home/docker.pid")" 2>/dev/null || true
		for _ in $(seq 100); do [ -e "/proc/$(cat "$home/docker.pid" 2>/dev/null || echo 0)" ] || break; sleep 0.2; done
	fi
	[ "$status" = 0 ] || tail -n 20 "$home/dockerd.log" 2>/dev/null
	rm -rf "$home"
	exit "$status"
}
trap clean_up EXIT
trap 'exit 143' TERM INT HUP

say "building the images"
docker build -q --target fastroute -t fastroute . >/dev/null
docker build -q --target announced -t fastroute-announced . >/dev/null

say "starting an engine of its own"
unshare --net --mount sh -c '
	ip link set lo up && ip link add swarm0 type veth peer name swarm1 && ip link set swarm1 up &&
	ip address add 10.200.0.1/24 dev swarm0 && ip link set swarm0 up &&
	exec dockerd --host "unix://$0/docker.sock" --data-root "$0/data" --exec-root "$0/exec" --pidfile "$0/docker.pid" \
		--bip 10.201.0.1/24' "$home" >"$home/dockerd.log" 2>&1 &
for _ in $(seq 150); do $inner version >/dev/null 2>&1 && break; sleep 0.2; done
$inner version >/dev/null || die "the engine does not answer" "see above"
docker save fastroute fastroute-announced | $inner load -q
$inner swarm init --advertise-addr 10.200.0.1 >/dev/null
head -c 32 /dev/urandom | base64 | $inner secret create fastroute - >/dev/null
$inner stack deploy --resolve-image never --detach=true -c examples/swarm/stack.yaml article >/dev/null

say "waiting for three workers"
router=
for _ in $(seq 300); do
	router=$($inner ps -q --filter label=com.docker.swarm.service.name=article_router | head -n 1)
	[ -n "$router" ] && $inner exec "$router" fastroute-ctl wait foo.com --ready 3 --timeout 1 >/dev/null 2>&1 && break
	sleep 0.2
done
$inner exec "$router" fastroute-ctl status

say "replacing every task under load"
$inner exec -i "$router" /opt/fastroute/bin/python - 45 <examples/swarm/load.py >"$home/load" 2>&1 &
load=$!
$inner service update --force --detach=false -q article_web >/dev/null
status=0
wait "$load" || status=$?
cat "$home/load"
$inner service logs article_router 2>&1 | grep -c "(withdrawn)" | sed 's/^/withdrawn: /'
[ "$status" = 0 ] || die "requests failed while tasks were replaced" "see the statuses above"
say "no request failed"

# shellcheck shell=bash
# A Docker Engine that answers: whose it is, starting one, and ending one that we started. Sourced, never run.
#
# Rule: an engine, daemon.json, network or route that we did not make is never changed. What we start is written down
# under $ENGINE_STATE, and only that is ever ended by us. An engine that runs but has long stopped answering serves
# nobody; it is started again with its own arguments, or, under systemd, left to its owner with the cure.

ENGINE_STATE=/run/fastroute-engine
ENGINE_LOG=/var/log/fastroute-dockerd.log
ENGINE_SOCKET=/var/run/docker.sock
ENGINE_PIDFILE=/var/run/docker.pid
CONTAINERD_PIDFILE=/var/run/docker/containerd/containerd.pid
# Below the bridges' own routes (metric 0): what they do not cover is refused here instead of leaving the machine.
POOL_METRIC=100000
START_SECONDS=90
SILENCE_SECONDS=60

engine_answers() { timeout "${1:-10}" docker version --format '{{.Server.Version}}' >/dev/null 2>&1; }

# engine_is_elsewhere: the user chose an engine other than this machine's own socket.
engine_is_elsewhere() {
	local host=${DOCKER_HOST-}
	if [ -z "$host" ] && command -v docker >/dev/null; then
		host=$(docker context inspect --format '{{.Endpoints.docker.Host}}' 2>/dev/null)
	fi
	case $host in "" | "unix://$ENGINE_SOCKET" | unix:///run/docker.sock) return 1 ;; esac
	elsewhere=$host
}

# runs_as PID NAME: a living process of that name (a zombie is none).
runs_as() {
	[ -n "$1" ] && [ "$(cat "/proc/$1/comm" 2>/dev/null)" = "$2" ] && ! grep -q '^State:[[:space:]]*Z' "/proc/$1/status" 2>/dev/null
}

pid_in() { tr -dc 0-9 2>/dev/null <"$1" || true; }

# start_mark PID: what tells this process from a later one with the same number (start time in ticks, after the name).
start_mark() { sed 's/.*) //' "/proc/$1/stat" 2>/dev/null | cut -d ' ' -f 20; }

seconds_old() { ps -o etimes= -p "$1" 2>/dev/null | tr -d ' ' | grep . || printf '0\n'; }

# engine_is_ours: the dockerd that we started still runs; sets $our_pid.
engine_is_ours() {
	our_pid=$(pid_in "$ENGINE_STATE/pid" 2>/dev/null)
	runs_as "$our_pid" dockerd && [ "$(start_mark "$our_pid")" = "$(cat "$ENGINE_STATE/started" 2>/dev/null)" ]
}

# engine_needs: what ensure_engine will have to do, in words, when no engine answers.
engine_needs() {
	engine_is_elsewhere && return 0
	command -v dockerd >/dev/null || printf '%s\n' "install Debian's docker.io (the Docker Engine)"
	printf '%s\n' "start dockerd, as no Docker Engine answers"
}

engine_packages() {
	local wanted=()
	command -v dockerd >/dev/null || wanted+=(docker.io)
	if ! command -v docker >/dev/null; then
		# Debian 13 has the client in a package of its own.
		if apt-cache show docker-cli >/dev/null 2>&1; then wanted+=(docker-cli); else wanted+=(docker.io); fi
	fi
	command -v ip >/dev/null || wanted+=(iproute2)
	command -v iptables >/dev/null || wanted+=(iptables)
	command -v ps >/dev/null || wanted+=(procps)
	command -v python3 >/dev/null || wanted+=(python3)
	[ "${#wanted[@]}" = 0 ] || install_packages "${wanted[@]}"
}

# ensure_engine: to be called when none answers.
ensure_engine() {
	if engine_is_elsewhere; then
		die "the Docker Engine at $elsewhere (DOCKER_HOST or docker context) does not answer" \
			"start it, or 'unset DOCKER_HOST; docker context use default' to use one on this machine"
	fi
	[ "$(id -u)" = 0 ] ||
		die "no Docker Engine answers to $(id -un)" "add the user to the group docker (and log in again), or run this as root"
	engine_packages
	if [ -d /run/systemd/system ]; then
		start_by_systemd
	else
		settle_running_daemon
		start_daemon
	fi
	say "Docker Engine $(docker version --format '{{.Server.Version}}') answers"
}

start_by_systemd() {
	say "starting docker.service"
	systemctl start docker || true
	within "$START_SECONDS" engine_answers 5 ||
		die "docker.service does not answer: $(journalctl -u docker -n 3 --no-pager -o cat 2>/dev/null | tail -n 3)" \
			"see 'journalctl -u docker'; a daemon that hangs comes back with 'systemctl restart docker'"
}

# settle_running_daemon: a dockerd that runs and does not answer gets time, then is ended; $daemon_argv remembers it.
settle_running_daemon() {
	local pid
	daemon_argv=() daemon_is_ours=yes
	pid=$(pid_in "$ENGINE_PIDFILE" 2>/dev/null)
	runs_as "$pid" dockerd || return 0
	engine_is_ours && [ "$our_pid" = "$pid" ] || daemon_is_ours=no
	mapfile -d '' -t daemon_argv <"/proc/$pid/cmdline"
	if [[ " ${daemon_argv[*]} " =~ \ (-H|--host)[=\ ] ]] && [[ " ${daemon_argv[*]} " != *docker.sock* ]]; then
		die "dockerd (pid $pid) runs but does not listen on $ENGINE_SOCKET: ${daemon_argv[*]}" "set DOCKER_HOST to where it listens"
	fi
	if grep -q '^State:[[:space:]]*T' "/proc/$pid/status"; then
		say "dockerd (pid $pid) is stopped (SIGSTOP): letting it continue"
		kill -CONT "$pid"
	fi
	say "dockerd (pid $pid) runs but does not answer; waiting up to $SILENCE_SECONDS s for it"
	if within "$SILENCE_SECONDS" no_more_to_hope "$pid" && engine_answers; then
		daemon_argv=()
		return 0
	fi
	say "dockerd (pid $pid) stays silent: ending it and starting it again as it was"
	end_process "$pid" dockerd 15
}

# no_more_to_hope PID: it answers, or is gone, or has been up for long and nobody even listens any more.
no_more_to_hope() {
	local status=0
	timeout 5 docker version >/dev/null 2>&1 || status=$?
	[ "$status" = 0 ] || gone "$1" dockerd || { [ "$status" != 124 ] && [ "$(seconds_old "$1")" -ge "$SILENCE_SECONDS" ]; }
}

# end_process PID NAME SECONDS: SIGTERM, and SIGKILL when that is not enough.
end_process() {
	runs_as "$1" "$2" || return 0
	kill -TERM "$1" 2>/dev/null || true
	kill -CONT "$1" 2>/dev/null || true
	within "$3" gone "$1" "$2" && return 0
	kill -KILL "$1" 2>/dev/null || true
	within 5 gone "$1" "$2"
}

gone() { ! runs_as "$1" "$2"; }

# clear_remains: what a dead dockerd leaves in the way of the next one.
clear_remains() {
	local pid
	pid=$(pid_in "$ENGINE_PIDFILE" 2>/dev/null)
	if [ -e "$ENGINE_PIDFILE" ] && ! runs_as "$pid" dockerd; then
		say "removing $ENGINE_PIDFILE: process ${pid:-(none)} is no dockerd"
		rm -f "$ENGINE_PIDFILE"
	fi
	if [ -e "$CONTAINERD_PIDFILE" ] && ! runs_as "$(pid_in "$CONTAINERD_PIDFILE")" containerd; then
		rm -f "$CONTAINERD_PIDFILE"
	fi
	# A container that was started with the socket mounted while no engine ran leaves a directory of that name.
	if [ -d "$ENGINE_SOCKET" ] && ! rmdir "$ENGINE_SOCKET" 2>/dev/null; then
		die "$ENGINE_SOCKET is a directory with files in it" "move it away"
	fi
}

# end_orphan_containerd: the containerd of a dockerd that is gone (dockerd's own child, told by its configuration).
end_orphan_containerd() {
	local pid
	pid=$(pid_in "$CONTAINERD_PIDFILE" 2>/dev/null)
	runs_as "$pid" containerd || return 0
	tr '\0' ' ' <"/proc/$pid/cmdline" | grep -q /var/run/docker/containerd || return 0
	say "ending the containerd (pid $pid) that a dead dockerd left behind"
	end_process "$pid" containerd 10
	rm -f "$CONTAINERD_PIDFILE"
}

start_daemon() {
	local attempt
	engine_answers 2 && return 0
	mkdir -p "$ENGINE_STATE"
	[ -e "$ENGINE_STATE/forward" ] || iptables -w 5 -S FORWARD 2>/dev/null | sed -n 's/^-P FORWARD //p' >"$ENGINE_STATE/forward"
	for attempt in 1 2; do
		clear_remains
		launch_daemon
		if wait_for_daemon; then return 0; fi
		say "dockerd did not come up: $daemon_failure"
		if [ "$attempt" = 1 ]; then end_orphan_containerd; fi
	done
	forget_pool
	rm -rf "$ENGINE_STATE"
	die "dockerd does not start: $daemon_failure" "$(cure_for "$daemon_failure") (the whole log: $ENGINE_LOG)"
}

# launch_daemon: in a session of its own, so that it outlives this script and its terminal.
launch_daemon() {
	local argv=("${daemon_argv[@]}") pool
	if [ "${#argv[@]}" = 0 ]; then
		argv=(dockerd)
		if pool=$(claim_pool); then argv+=(--default-address-pool "base=$pool,size=24"); fi
	fi
	say "starting ${argv[*]} (log: $ENGINE_LOG)"
	printf '\n=== %s fastroute starts: %s\n' "$(date -u +%FT%TZ)" "${argv[*]}" >>"$ENGINE_LOG"
	log_before=$(wc -c <"$ENGINE_LOG")
	setsid nohup "${argv[@]}" </dev/null >>"$ENGINE_LOG" 2>&1 9>&- &
	daemon_pid=$!
	disown
	if [ "$daemon_is_ours" = yes ]; then printf '%s\n' "$daemon_pid" >"$ENGINE_STATE/pid"; else rm -f "$ENGINE_STATE/pid"; fi
}

# wait_for_daemon: true once it answers; else $daemon_failure says why, and nothing of it is left running.
wait_for_daemon() {
	local started=$SECONDS told=0
	daemon_failure=
	while [ $((SECONDS - started)) -lt "$START_SECONDS" ]; do
		if engine_answers 5; then
			start_mark "$daemon_pid" >"$ENGINE_STATE/started"
			return 0
		fi
		if ! kill -0 "$daemon_pid" 2>/dev/null; then
			daemon_failure=$(failure_in_log)
			return 1
		fi
		if [ $(((SECONDS - started) / 10)) -gt "$told" ]; then
			told=$(((SECONDS - started) / 10))
			say "waiting for dockerd: $((SECONDS - started)) s so far"
		fi
		sleep 0.3
	done
	end_process "$daemon_pid" dockerd 10
	daemon_failure="no answer within $START_SECONDS s; $(failure_in_log)"
	return 1
}

# failure_in_log: the line of this start that says most.
failure_in_log() {
	local text
	text=$(tail -c "+$((log_before + 1))" "$ENGINE_LOG")
	{
		grep -aE 'failed to start daemon|level=fatal|^failed|^unable|panic:' <<<"$text" || grep -a 'level=error' <<<"$text" ||
			grep -av '^[[:space:]]*$' <<<"$text" || printf 'it ended without a word\n'
	} | tail -n 1 | cut -c 1-300
}

# cure_for FAILURE: what helps, for the failures that people meet.
cure_for() {
	case $1 in
	*'pid file found'*) printf 'another dockerd seems to run: end it, or remove %s' "$ENGINE_PIDFILE" ;;
	*'o space left'*) printf 'free some disk space under /var/lib/docker' ;;
	*'evices cgroup'* | *cgroup*mount*) printf 'mount the cgroups: apt-get install cgroupfs-mount && cgroupfs-mount' ;;
	*iptables* | *nf_tables* | *'NAT chain'*)
		printf 'iptables does not work here: as root with NET_ADMIN try update-alternatives --set iptables /usr/sbin/iptables-legacy' ;;
	*daemon.json* | *'configure the Docker daemon'*) printf 'correct /etc/docker/daemon.json' ;;
	*'ermission denied'* | *'peration not permitted'*) printf 'run as root, in a container only with --privileged' ;;
	*'address pool'* | *overlap*) printf 'docker network ls, and remove networks that overlap others' ;;
	*containerd*) printf 'end every containerd of an old dockerd, remove /var/run/docker, and try again' ;;
	*) printf 'correct what the log names, then try again' ;;
	esac
}

# claim_pool: print the address pool for our dockerd, with its unreachable route in place; fail where one is configured.
claim_pool() {
	local pool
	if grep -qsE '"(default-address-pools|bip)"' /etc/docker/daemon.json; then return 1; fi
	pool=$(cat "$ENGINE_STATE/pool" 2>/dev/null || true)
	if [ -z "$pool" ]; then
		pool=$({ ip -4 -o addr; ip -4 route show table all; cat /etc/resolv.conf 2>/dev/null; } |
			python3 "$MACHINE/address_pool.py") || return 1
		# Packets to a container that is gone must not leave the machine by the default route.
		if ! ip route add unreachable "$pool" metric "$POOL_METRIC" >&2; then return 1; fi
		printf '%s\n' "$pool" >"$ENGINE_STATE/pool"
	fi
	printf '%s\n' "$pool"
}

forget_pool() {
	local pool
	pool=$(cat "$ENGINE_STATE/pool" 2>/dev/null) || return 0
	ip route del unreachable "$pool" metric "$POOL_METRIC" 2>/dev/null || true
	rm -f "$ENGINE_STATE/pool"
}

# stop_engine: end the dockerd that we started, unless somebody's containers run on it, and take its traces away.
stop_engine() {
	local running
	if ! engine_is_ours; then
		say "no engine of ours runs: nothing to stop"
		return 0
	fi
	running=$(timeout 10 docker ps --format '{{.Names}}' 2>/dev/null | tr '\n' ' ' || true)
	if [ -n "$running" ]; then
		say "the engine is left running: containers still use it: $running"
		return 0
	fi
	say "stopping dockerd (pid $our_pid), which fastroute started"
	end_process "$our_pid" dockerd 30
	end_orphan_containerd
	forget_pool
	ip link del docker0 2>/dev/null || true
	forget_firewall
	rm -rf "$ENGINE_STATE"
}

# forget_firewall: dockerd leaves its chains behind; they are its own, told by their names.
forget_firewall() {
	local table rule chain
	command -v iptables >/dev/null || return 0
	for table in nat filter; do
		iptables -w 5 -t "$table" -S 2>/dev/null | grep -E '^-A (PREROUTING|OUTPUT|POSTROUTING|FORWARD) .*(DOCKER|docker0)' |
			while read -r rule; do
				# shellcheck disable=SC2086 # a rule is a list of words
				iptables -w 5 -t "$table" -D ${rule#-A } 2>/dev/null || true
			done
		for chain in $(iptables -w 5 -t "$table" -S 2>/dev/null | sed -n 's/^-N \(DOCKER.*\)/\1/p'); do iptables -w 5 -t "$table" -F "$chain"; done
		for chain in $(iptables -w 5 -t "$table" -S 2>/dev/null | sed -n 's/^-N \(DOCKER.*\)/\1/p'); do iptables -w 5 -t "$table" -X "$chain"; done
	done
	if [ "$(cat "$ENGINE_STATE/forward" 2>/dev/null)" = ACCEPT ]; then iptables -w 5 -P FORWARD ACCEPT; fi
}

# shellcheck shell=bash
# How the scripts speak: what happens now, what went wrong, and the cure. Everything goes to standard error, so that
# standard output stays what a script answers. Sourced, never run.

say() { printf '%s\n' "fastroute: $*" >&2; }

# die REASON CURE: the last two lines somebody reads when a script gives up.
die() {
	printf '\n%s\n' "fastroute: failed: $1" >&2
	[ -z "${2-}" ] || printf '%s\n' "fastroute: cure:   $2" >&2
	exit 1
}

# step NAME COMMAND...: run it with its output shown, and say how long it took.
step() {
	local name=$1 started=$SECONDS
	shift
	say "$name ..."
	"$@" || return $?
	say "$name: done in $((SECONDS - started)) s"
}

# quietly LOG NAME COMMAND...: run it with its output in LOG, a sign of life every 10 s, the log's end on failure.
quietly() {
	local log=$1 name=$2 started=$SECONDS pid status=0
	shift 2
	say "$name ... (log: $log)"
	"$@" </dev/null >"$log" 2>&1 &
	pid=$!
	while kill -0 "$pid" 2>/dev/null; do
		sleep 0.2
		if [ $((SECONDS - started)) -ge $((${beats:-0} * 10 + 10)) ]; then
			beats=$((${beats:-0} + 1))
			say "$name: $((SECONDS - started)) s so far: $(tail -n 1 "$log" | cut -c 1-100)"
		fi
	done
	beats=0
	wait "$pid" || status=$?
	if [ "$status" -ne 0 ]; then
		say "$name: failed with status $status; the end of $log:"
		tail -n 15 "$log" | sed 's/^/    /' >&2
		return "$status"
	fi
	say "$name: done in $((SECONDS - started)) s"
}

# within SECONDS COMMAND...: succeed as soon as COMMAND does, fail when it has not in time.
within() {
	local deadline=$((SECONDS + $1))
	shift
	until "$@"; do
		[ "$SECONDS" -lt "$deadline" ] || return 1
		sleep 0.3
	done
}

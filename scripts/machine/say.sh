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
# The command is in the foreground, so that Ctrl-C ends it.
quietly() {
	local log=$1 name=$2 started=$SECONDS beat status=0
	shift 2
	say "$name ... (log: $log)"
	: >"$log"
	signs_of_life "$log" "$name" 9>&- &
	beat=$!
	"$@" </dev/null >"$log" 2>&1 || status=$?
	kill "$beat" 2>/dev/null
	wait "$beat" 2>/dev/null || true
	if [ "$status" -ne 0 ]; then
		say "$name: failed with status $status; the end of $log:"
		tail -n 15 "$log" | sed 's/^/    /' >&2
		return "$status"
	fi
	say "$name: done in $((SECONDS - started)) s"
}

# signs_of_life LOG NAME: as long as this script lives.
signs_of_life() {
	local started=$SECONDS
	while sleep 10 >/dev/null 2>&1 && kill -0 $$ 2>/dev/null; do
		say "$2: $((SECONDS - started)) s so far: $(tail -n 1 "$1" | cut -c 1-100)"
	done
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

# shellcheck shell=bash
# Several long commands at once, which mostly wait: each one's output stays together. Sourced, never run.

# side_by_side LIMIT NAME...: run the functions named so, in this order, at most LIMIT at once. What each prints is shown
# whole when it ends; until then a line a minute says how far each is. Status: 0 when all succeeded, else that of the
# last that failed.
side_by_side() {
	local folder name ended beat code started=$SECONDS status=0 clock limit=$1
	shift
	local -A names=()
	folder=$(mktemp -d /tmp/fastroute-side-by-side.XXXXXX)
	trap 'interrupt_groups "${!names[@]}"; exit 130' INT
	trap 'interrupt_groups "${!names[@]}"; exit 143' TERM HUP
	while [ "$#" -gt 0 ] || [ "${#names[@]}" -gt 0 ]; do
		# With job control each command has a process group of its own and hears SIGINT, which bash otherwise has
		# commands in the background ignore: pytest takes its stacks down at SIGINT only.
		set -m
		while [ "$#" -gt 0 ] && [ "${#names[@]}" -lt "$limit" ]; do
			name=$1
			shift
			(TIMEFORMAT="$name: %R s, %U + %S s of CPU" && time "$name") </dev/null >"$folder/$name" 2>&1 &
			names[$!]=$name
		done
		set +m
		sleep 60 &
		beat=$!
		code=0
		wait -n -p ended "${!names[@]}" "$beat" || code=$?
		clock=$((SECONDS - started))
		if [ "$ended" = "$beat" ]; then
			for name in "${names[@]}"; do
				say "$name: $clock s so far: $(tail -n 1 "$folder/$name" | tail -c 100)"
			done
			continue
		fi
		kill "$beat" 2>/dev/null
		wait "$beat" 2>/dev/null || true
		name=${names[$ended]}
		unset "names[$ended]"
		say "$name: ended with status $code after $clock s; what it printed:"
		cat "$folder/$name"
		[ "$code" = 0 ] || status=$code
	done
	trap - INT TERM HUP
	rm -rf "$folder"
	return "$status"
}

# interrupt_groups PID...: as Ctrl-C does, and wait for their ends.
interrupt_groups() {
	local pid
	for pid; do kill -INT -- "-$pid" 2>/dev/null || true; done
	wait "$@" || true
}

#!/usr/bin/env bash
# make test: all tests. Where no arguments choose among them, they are five parts, of which three run side by side, as
# they mostly wait: those end to end, those on a Docker Engine, all others, and on the compiled build (test_compiled.sh)
# those end to end once more, and those of relay and oracle. A few that fail there run again alone. Arguments go to
# pytest, which then runs once.
. "$(dirname "$0")/machine/stand.sh"

#: More failures than this are no accident of a busy machine.
MAX_RUN_AGAIN=5
PYTEST_OPTIONS=(--durations=30)

# Each part has a folder of its own for its status and its failures, where pytest's --last-failed finds them.
results_of() { printf '%s' "$PWD/.pytest_cache/$1"; }

# run_part NAME PYTEST...: its status is kept, too.
run_part() {
	local results status=0
	results=$(results_of "$1")
	shift
	mkdir -p "$results"
	"$@" "${PYTEST_OPTIONS[@]}" -o cache_dir="$results" || status=$?
	echo "$status" >"$results/status"
	return "$status"
}
run_tests() { "$VENV/bin/python" -m pytest "$@"; }
without_docker() { run_part without_docker run_tests -m "not docker" --ignore=tests/end_to_end; }
end_to_end() { run_part end_to_end run_tests -m "not docker" tests/end_to_end; }
on_docker() { run_part on_docker run_tests -m docker; }
compiled_end_to_end() { run_part compiled_end_to_end scripts/test_compiled.sh tests/end_to_end; }
compiled_relay() { run_part compiled_relay scripts/test_compiled.sh tests/router/relay tests/oracle; }

# The longest first. With four at once two cores have so much to do that tests with time limits fail by chance.
PARTS=(on_docker end_to_end without_docker compiled_end_to_end compiled_relay)
AT_ONCE=3

# failed_tests PART: the tests that failed when it ran last, a line each.
failed_tests() {
	"$VENV/bin/python" - "$(results_of "$1")/v/cache/lastfailed" <<-'END'
		import json, pathlib, sys
		path = pathlib.Path(sys.argv[1])
		for name in json.loads(path.read_text()) if path.exists() else ():
		    print(name)
	END
}

# run_again_alone: the tests that failed, with nothing beside them now. What passes is named: it is to be mended.
run_again_alone() {
	local part code names tests=() parts=()
	for part in "${PARTS[@]}"; do
		code=$(cat "$(results_of "$part")/status" || echo missing)
		[ "$code" != 0 ] || continue
		mapfile -t names < <(failed_tests "$part")
		# pytest's 1: tests failed.
		if [ "$code" != 1 ] || [ "${#names[@]}" = 0 ]; then
			say "$part ended with status $code, and not because tests failed"
			return 1
		fi
		parts+=("$part")
		tests+=("${names[@]/#/$part: }")
	done
	say "${#tests[@]} tests failed beside the others:"
	printf '  %s\n' "${tests[@]}" >&2
	if [ "${#tests[@]}" -gt "$MAX_RUN_AGAIN" ]; then
		say "none is run again, as these are more than $MAX_RUN_AGAIN"
		return 1
	fi
	PYTEST_OPTIONS=(--last-failed)
	for part in "${parts[@]}"; do
		say "running again, alone, what failed of $part"
		"$part" || return $?
	done
	say "alone they passed, so the run succeeds; these tests depend on how busy the machine is, and are to be mended:"
	printf '  %s\n' "${tests[@]}" >&2
}

# remove_leftovers: what a run left that was killed, maybe another clone's, comes back with the engine and takes its time.
remove_leftovers() {
	docker ps --all --quiet --filter name=^fastroute-test- | xargs --no-run-if-empty docker rm --force --volumes >/dev/null
}

say "make test installs what it needs: Debian packages (${TEST_PACKAGES[*]}), and Python packages into $VENV"
install_packages "${TEST_PACKAGES[@]}"
ensure_environment
engine_before=off
if engine_answers; then engine_before=on; fi
ensure_docker "make test"
if [ "$engine_before" = off ]; then remove_leftovers; fi
[ "$#" = 0 ] || exec "$VENV/bin/python" -m pytest "$@"
for part in "${PARTS[@]}"; do rm -rf "$(results_of "$part")"; done
side_by_side "$AT_ONCE" "${PARTS[@]}" || run_again_alone

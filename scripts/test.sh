#!/usr/bin/env bash
# make test: all tests. Where no arguments choose among them, three parts run side by side, as they mostly wait: those
# end to end, those on a Docker Engine, and all others, after which those of the relay, end to end and of the oracle run
# once more on the compiled build (test_compiled.sh). Arguments go to pytest, which then runs once.
. "$(dirname "$0")/machine/stand.sh"

run_tests() { "$VENV/bin/python" -m pytest --durations=30 "$@"; }
without_docker() { run_tests -m "not docker" --ignore=tests/end_to_end; }
end_to_end() { run_tests -m "not docker" tests/end_to_end; }
on_docker() { run_tests -m docker; }
on_the_compiled_build() { scripts/test_compiled.sh; }

# One after the other: with four parts at once two cores have so much to do that tests with time limits fail by chance.
without_docker_then_compiled() {
	local status=0
	without_docker || status=$?
	on_the_compiled_build || status=$?
	return "$status"
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
side_by_side without_docker_then_compiled end_to_end on_docker

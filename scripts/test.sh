#!/usr/bin/env bash
# make test: all tests. Where no arguments choose among them, four parts run side by side, as they mostly wait: the tests
# without Docker but those end to end, these, those on a Docker Engine, and those of the relay, end to end and of the
# oracle once more on the compiled build (test_compiled.sh). Arguments go to pytest, which then runs once.
. "$(dirname "$0")/machine/stand.sh"

run_tests() { "$VENV/bin/python" -m pytest --durations=30 "$@"; }
without_docker() { run_tests -m "not docker" --ignore=tests/end_to_end; }
end_to_end() { run_tests -m "not docker" tests/end_to_end; }
on_docker() { run_tests -m docker; }
on_the_compiled_build() { scripts/test_compiled.sh; }

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
side_by_side without_docker end_to_end on_docker on_the_compiled_build

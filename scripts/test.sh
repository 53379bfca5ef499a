#!/usr/bin/env bash
# make test: all tests, those on a Docker Engine too; then, where no arguments choose among them, the relay's, the
# end-to-end and the oracle's tests once more on the compiled build (test_compiled.sh). Arguments go to pytest.
. "$(dirname "$0")/machine/stand.sh"

say "make test installs what it needs: Debian packages (${TEST_PACKAGES[*]}), and Python packages into $VENV"
install_packages "${TEST_PACKAGES[@]}"
ensure_environment
ensure_docker "make test"
[ "$#" = 0 ] || exec "$VENV/bin/python" -m pytest "$@"
status=0
"$VENV/bin/python" -m pytest || status=$?
scripts/test_compiled.sh || status=$?
exit "$status"

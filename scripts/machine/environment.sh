# shellcheck shell=bash
# The virtual environment of tests and checks, made again only when what it depends on has changed. Sourced.

VENV=${VENV:-.venv}

# What tests drive and Debian has: nginx and the real uWSGI (oracle tests), a browser for the page. Services are not
# started.
# shellcheck disable=SC2034 # for the callers
TEST_PACKAGES=(nginx uwsgi-core uwsgi-plugin-python3 haproxy iproute2 curl systemd pebble prometheus chromium
	fonts-dejavu-core)

# ensure_environment: what requirements/development.lock names, each file by its hash, and fastroute itself (editable).
ensure_environment() {
	local stamp=$VENV/.fastroute log
	if ! python_is_good "$VENV/bin/python"; then
		ensure_python
		# shellcheck disable=SC2154 # ensure_python has set it
		quietly "$(mktemp /tmp/fastroute-venv.XXXXXX.log)" "making $VENV with $("$python" --version)" "$python" -m venv --clear "$VENV" ||
			die "$VENV could not be made" "remove $VENV, or set VENV to another place"
	fi
	if ! cat pyproject.toml requirements/development.lock | cmp -s - "$stamp"; then
		log=$(mktemp /tmp/fastroute-pip.XXXXXX.log)
		quietly "$log" "installing fastroute and what its tests need into $VENV" install_locked ||
			die "fastroute could not be installed" "see $log; pip must reach PyPI, or an index with the very same files"
		cat pyproject.toml requirements/development.lock >"$stamp"
		rm -f "$log"
	fi
}

# install_locked: setuptools is among the locked, so that building the editable install fetches nothing unlocked.
install_locked() {
	local pip=("$VENV/bin/python" -m pip install --disable-pip-version-check)
	"${pip[@]}" --require-hashes --requirement requirements/development.lock &&
		"${pip[@]}" --no-deps --no-build-isolation --editable .
}

# shellcheck shell=bash
# The virtual environment of tests and checks, made again only when what it depends on has changed. Sourced.

VENV=${VENV:-.venv}

# ensure_environment EXTRA...: fastroute itself (editable) with these extras, as locked where there is a lock.
ensure_environment() {
	local extras stamp lock=() log
	extras=$(IFS=,; printf '%s' "$*")
	if ! python_is_good "$VENV/bin/python"; then
		ensure_python
		# shellcheck disable=SC2154 # ensure_python has set it
		quietly "$(mktemp /tmp/fastroute-venv.XXXXXX.log)" "making $VENV with $("$python" --version)" "$python" -m venv --clear "$VENV" ||
			die "$VENV could not be made" "remove $VENV, or set VENV to another place"
	fi
	if [ -f requirements.lock ]; then lock=(--constraint requirements.lock); fi
	stamp=$VENV/.fastroute-$extras
	if ! cat pyproject.toml requirements.lock 2>/dev/null | cmp -s - "$stamp"; then
		log=$(mktemp /tmp/fastroute-pip.XXXXXX.log)
		quietly "$log" "installing fastroute[$extras] into $VENV" \
			"$VENV/bin/python" -m pip install --disable-pip-version-check "${lock[@]}" --editable ".[$extras]" ||
			die "fastroute[$extras] could not be installed" "see $log; pip must reach PyPI"
		cat pyproject.toml requirements.lock 2>/dev/null >"$stamp" || true
		rm -f "$log"
	fi
}

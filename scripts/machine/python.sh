# shellcheck shell=bash
# Which Python runs the tests: 3.11 to 3.14, with venv and pip. Sourced, never run.

python_is_good() {
	"$1" -c 'import ensurepip, sys, venv; sys.exit(not (3, 11) <= sys.version_info[:2] <= (3, 14))' 2>/dev/null
}

# python_version COMMAND: "3.9", or "none".
python_version() {
	"$1" -c 'import sys; print("%d.%d" % sys.version_info[:2])' 2>/dev/null || printf 'none\n'
}

# find_python: print the first that will do: $PYTHON alone if it is set, else the usual names.
find_python() {
	local name
	for name in ${PYTHON:-python3 python3.14 python3.13 python3.12 python3.11 /usr/bin/python3}; do
		if python_is_good "$name"; then
			command -v "$name"
			return 0
		fi
	done
	return 1
}

# ensure_python: sets $python, installing Debian's when there is none.
ensure_python() {
	if ! python=$(find_python); then
		[ -z "${PYTHON-}" ] ||
			die "PYTHON=$PYTHON is $(python_version "$PYTHON"), or has no venv module; 3.11 to 3.14 is needed" "set PYTHON to another one, or unset it"
		install_packages python3 python3-venv
		# shellcheck disable=SC2034 # for the callers
		python=$(find_python) ||
			die "no Python 3.11 to 3.14 with venv was found (python3 is $(python_version python3))" \
				"use Debian 12 or newer, or install one and set PYTHON=/path/to/python3.x"
	fi
}

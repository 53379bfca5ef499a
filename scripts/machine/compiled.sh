# shellcheck shell=bash
# The compiled build: an environment of its own beside $VENV, with the tests' libraries, and fastroute installed with the
# relay compiled by mypyc. It is built again only when the code or what it depends on has changed. Sourced, never run.

# ensure_compiled_environment: the environment at compiled_path. Ends the script where it can't be built: whoever can go
# on without it calls this in a subshell.
ensure_compiled_environment() {
	local compiled stamp log
	compiled=$(compiled_path)
	stamp=$compiled/.fastroute
	# Two that need it at once make it once.
	exec 8>"$VENV/.compiled.lock"
	flock 8
	if ! python_is_good "$compiled/bin/python" || ! compiled_from | cmp -s - "$stamp"; then
		install_packages gcc libc6-dev
		ensure_python_headers
		rm -f "$stamp"
		log=$(mktemp /tmp/fastroute-compile.XXXXXX.log)
		quietly "$log" "compiling the relay into $compiled" build_compiled ||
			die "the compiled build could not be made" "see $log"
		compiled_from >"$stamp"
		rm -f "$log"
	fi
	exec 8>&-
}

compiled_path() { realpath -m "$VENV-compiled"; }

# compiled_from: a hash of everything that the environment is built from.
compiled_from() {
	{
		"$VENV/bin/python" --version
		cat pyproject.toml setup.py requirements/development.lock
		find -L src/fastroute -type f \( -name '*.py' -o -name '*.j2' \) -print0 | sort -z | xargs -0 sha256sum
	} | sha256sum
}

# ensure_python_headers: Debian's package where the Python is Debian's; another Python brings its own.
ensure_python_headers() {
	local headers version
	headers=$("$VENV/bin/python" -c 'import sysconfig; print(sysconfig.get_path("include"))')
	[ ! -e "$headers/Python.h" ] || return 0
	version=$(python_version "$VENV/bin/python")
	[ "$("$VENV/bin/python" -c 'import sys; print(sys.base_prefix)')" != /usr ] || install_packages "python$version-dev"
	[ -e "$headers/Python.h" ] ||
		die "there is no Python.h in $headers, and the relay can't be compiled without it" \
			"install the headers of this Python $version, or set PYTHON to one that has them and remove $VENV"
}

# build_compiled: what an earlier build left in build/ is compiled again only where it differs, but modules that are gone
# since must not come along.
build_compiled() {
	local pip=("$compiled/bin/python" -m pip --disable-pip-version-check)
	{ python_is_good "$compiled/bin/python" || "$VENV/bin/python" -m venv --clear "$compiled"; } &&
		"${pip[@]}" install --require-hashes --requirement requirements/development.lock &&
		rm -rf build/lib* build/bdist* &&
		FASTROUTE_COMPILE=1 "${pip[@]}" install --no-deps --no-build-isolation --force-reinstall .
}

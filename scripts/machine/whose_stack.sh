# shellcheck shell=bash
# Whose a running stack is. Every clone's stack has the same project name unless told otherwise, and compose takes the
# containers of a project for its own, from wherever they were started: up would change them, down remove them.
# Sourced, never run; the current directory is the project's root.

# project_of [-f FILE]: the project's name as compose has it, from the environment, .env or the file.
project_of() { docker compose "$@" config 2>/dev/null | sed -n 's/^name: *//p'; }

# foreign_homes PROJECT: the directories, other than this clone's, from which containers of PROJECT were started.
foreign_homes() {
	local home root
	root=$(pwd -P)
	docker ps --all --filter "label=com.docker.compose.project=$1" \
		--format '{{.Label "com.docker.compose.project.working_dir"}}' | sort -u |
		while IFS= read -r home; do
			case $(realpath -m -- "${home:-/unknown}") in
			"$root" | "$root/compose") ;;
			*) printf '%s\n' "${home:-an unknown directory}" ;;
			esac
		done
}

# network_of [-f FILE]: the name of the workers' network as compose has it.
network_of() {
	docker compose "$@" config 2>/dev/null | awk '
		/^[^ ]/ {section = $1}
		/^  [^ ]/ {part = $1}
		section == "networks:" && part == "workers:" && $1 == "name:" {print $2}'
}

# is_foreign_stack PROJECT VERB: true when another clone's containers are in PROJECT; says whose, and what to do for VERB.
is_foreign_stack() {
	local homes home other
	homes=$(foreign_homes "$1")
	[ -n "$homes" ] || return 1
	home=$(head -n 1 <<<"$homes")
	other=fastroute-$(basename "$(pwd -P)" | tr -cd 'a-z0-9_-')
	[ "$other" != "$1" ] || other=$1-2
	printf '\n' >&2
	say "failed: the project $1 is another clone's, which stands it up from $(paste -sd, <<<"$homes" | sed 's/,/, /g'); nothing of it was changed"
	if [ "$2" = up ]; then
		say "cure:   a stack beside it: COMPOSE_PROJECT_NAME=$other FASTROUTE_NETWORK=$other FASTROUTE_HTTP_PORT=8082 FASTROUTE_HTTPS_PORT=8444 FASTROUTE_PAGE_PORT=8083 make up"
		say "        (the same for make down and docker compose, or all four in .env); or end that one first: $(end_of "$home" "$1")"
	else
		say "cure:   to end that one: $(end_of "$home" "$1"); to end yours: the COMPOSE_PROJECT_NAME that it was made with"
	fi
}

# end_of HOME PROJECT: how to end a stack from where it was started, or when that place is gone.
end_of() {
	if [ -f "$1/Makefile" ]; then
		printf 'make -C %q down' "$1"
	else
		printf '%s is not there any more: docker ps -aq --filter label=com.docker.compose.project=%s | xargs docker rm -f' "$1" "$2"
	fi
}

# refuse_foreign_network PROJECT NETWORK: compose would only warn, and two nginx and controllers would share all workers.
refuse_foreign_network() {
	local owner
	owner=$(docker network inspect -f '{{index .Labels "com.docker.compose.project"}}' "$2" 2>/dev/null) || return 0
	[ "$owner" != "$1" ] || return 0
	if [ -n "$owner" ]; then owner="of the project $owner"; else owner="not made by compose"; fi
	die "the network $2 is $owner, and the project $1 needs one of its own; nothing was changed" \
		"FASTROUTE_NETWORK=$1 FASTROUTE_HTTP_PORT=8082 FASTROUTE_HTTPS_PORT=8444 FASTROUTE_PAGE_PORT=8083 make up; or first end what stands there (make down), or remove the network"
}

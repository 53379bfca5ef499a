#!/usr/bin/env bash
# make down: remove what make up started: containers, networks and volumes of both modes. Images and the engine stay, and
# so does what another clone started.
. "$(dirname "$0")/machine/stand.sh"

if ! engine_answers; then
	say "no Docker Engine answers: nothing is up"
	exit 0
fi

# remove_project NAME: whatever carries the project's label, also when its compose file is no longer as it was.
remove_project() {
	local filter=label=com.docker.compose.project=$1 network volume
	docker ps -aq --filter "$filter" | xargs -r docker rm -f -v >/dev/null
	for network in $(docker network ls -q --filter "$filter"); do remove_network "$network"; done
	for volume in $(docker volume ls -q --filter "$filter"); do
		docker volume rm "$volume" >/dev/null || say "the volume $volume is kept: see above"
	done
}

remove_network() {
	local users
	docker network rm "$1" >/dev/null 2>&1 && return 0
	users=$(docker network inspect -f '{{range .Containers}}{{.Name}} {{end}}' "$1")
	say "the network $(docker network inspect -f '{{.Name}}' "$1") is kept: containers that make up did not start are on it: $users"
	say "once they are gone ('docker rm -f $users'), make down removes it"
}

# end_stack PROJECT [-f FILE]
end_stack() {
	local project=$1
	shift
	if is_foreign_stack "$project" down; then
		status=1
		return 0
	fi
	if compose_works; then
		step "docker compose $*${*:+ }down" docker compose "$@" -p "$project" down --volumes --remove-orphans || true
	fi
	remove_project "$project"
}

status=0
# The name may come from the environment, .env or the file: compose knows.
main_project=$(project_of)
main_project=${main_project:-${COMPOSE_PROJECT_NAME:-fastroute}}
nginx_project=$(project_of -f compose/nginx-mode.yaml)
end_stack "$main_project"
end_stack "${nginx_project:-fastroute-nginx}" -f compose/nginx-mode.yaml
[ "$status" -ne 0 ] || say "down"
exit "$status"

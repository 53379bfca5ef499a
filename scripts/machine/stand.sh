# shellcheck shell=bash
# What every script here needs before it begins: where the project is, one bootstrap at a time, what there is to do.
# Sourced first, never run.

set -euo pipefail
MACHINE=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
cd "$MACHINE/../.."
for part in say side_by_side packages python environment compiled engine compose_plugin base_image whose_stack; do
	# shellcheck source=/dev/null
	. "$MACHINE/$part.sh"
done
unset part

# one_at_a_time: two of these scripts must not install and start the same things at once.
one_at_a_time() {
	exec 9>"/tmp/fastroute-bootstrap.$(id -u).lock"
	if ! flock -n 9; then
		say "another fastroute script is preparing this machine; waiting for it"
		flock -w 900 9 || die "it is still at it after 15 minutes" "end it, then try again"
	fi
}

# ensure_docker NAME: engine, compose and base image; says first what NAME will do to this machine.
ensure_docker() {
	local needs engine=there
	one_at_a_time
	engine_answers || engine=missing
	needs=$(
		if [ "$engine" = missing ]; then engine_needs; fi
		compose_needs
		if [ "$engine" = missing ]; then
			base_image_needs | sed 's/$/ (unless it is there)/'
		elif ! base_image_exists; then
			base_image_needs
		fi
	)
	if [ -n "$needs" ]; then
		say "$1 needs Docker, and will first"
		printf '%s\n' "$needs" | sed 's/^/               - /' >&2
	fi
	[ "$engine" = there ] || ensure_engine
	ensure_compose
	ensure_base_image
	exec 9>&-
}

#!/usr/bin/env bash
# make up: stand up the stack, on a machine with or without Docker, and say what to try.
#
# All that plain `docker compose up --build` at the root does not do is here, before it and after it: nothing that
# compose itself would need is passed to it.
. "$(dirname "$0")/machine/stand.sh"

MODE=${MODE:-router}
case $MODE in
router) files=() ;;
nginx)
	files=(-f compose/nginx-mode.yaml)
	;;
*) die "MODE=$MODE is unknown" "MODE=router (the default) or MODE=nginx" ;;
esac

compose() { docker compose "${files[@]}" "$@"; }

# build: Docker's classic builder knows nothing of stages that two builds share, so there one image at a time.
build() {
	if docker buildx version >/dev/null 2>&1; then compose build; else COMPOSE_PARALLEL_LIMIT=1 compose build; fi
}

build_cure() {
	if grep -q 'requires buildx' "$log"; then
		printf 'install a newer docker-buildx, or remove it: the classic builder does as well'
	else
		printf "see %s; a build needs Debian's mirrors and PyPI" "$log"
	fi
}

tell_failure() {
	local name
	compose ps --all >&2 || true
	for name in $(compose ps --all --format '{{.Name}} {{.State}} {{.Health}}' | awk '$2 != "running" || ($3 != "" && $3 != "healthy") {print $1}'); do
		printf '\n--- the last words of %s:\n' "$name" >&2
		docker logs --tail 15 "$name" >&2 || true
	done
}

# answers HOST: the stack's nginx routes HOST to a worker.
answers() {
	python3 - "$1" "$port" 2>/dev/null <<'PY'
import http.client, sys
link = http.client.HTTPConnection("127.0.0.1", int(sys.argv[2]), timeout=5)
link.request("GET", "/", headers={"Host": sys.argv[1]})
sys.exit(link.getresponse().status != 200)
PY
}

ensure_docker "make up"
project=$(project_of "${files[@]}")
if [ -n "$project" ]; then
	if is_foreign_stack "$project" up; then exit 1; fi
	refuse_foreign_network "$project" "$(network_of "${files[@]}")"
fi
log=$(mktemp /tmp/fastroute-up.XXXXXX.log)
quietly "$log" "building the images" build ||
	die "the images could not be built" "$(build_cure)"
if ! quietly "$log" "starting the stack" compose up --build --wait --wait-timeout 180; then
	tell_failure
	die "the stack did not come up" "see above; a port in use: FASTROUTE_HTTP_PORT=8082 FASTROUTE_HTTPS_PORT=8444 FASTROUTE_PAGE_PORT=8083 make up; from the start: make down up"
fi
rm -f "$log"
port=$(compose port nginx 8080 | head -n 1 | sed 's/.*://')
tls_port=$(compose port nginx 8443 | head -n 1 | sed 's/.*://')
page_port=$(compose port page 8081 | head -n 1 | sed 's/.*://')
if command -v python3 >/dev/null; then
	for host in foo.com bar.com; do
		within 30 answers "$host" || die "the stack runs, but $host is not answered on port $port" \
			"docker compose ${files[*]} exec controller fastroute-ctl ps; docker compose ${files[*]} logs"
	done
fi
foo=$(compose config --images foo 2>/dev/null | head -n 1)
cat <<END

fastroute is up. Look at http://localhost:$page_port, and try:
  curl -H 'Host: foo.com' localhost:$port      # two Bottle workers behind uWSGI, in turn
  curl -H 'Host: bar.com' localhost:$port      # gunicorn
  curl -k --connect-to ::localhost:$tls_port https://foo.com    # self-signed, until FASTROUTE_ACME_EMAIL is set
  docker compose ${files[*]:+${files[*]} }exec controller fastroute-ctl status
  docker compose ${files[*]:+${files[*]} }up -d --scale foo=4
and a container of your own: any worker that speaks uwsgi, labelled, on the network ${FASTROUTE_NETWORK:-fastroute}
  docker run -d --name baz --network ${FASTROUTE_NETWORK:-fastroute} -l fastroute.key=baz.com ${foo:-fastroute-foo}
  curl -H 'Host: baz.com' localhost:$port
make down removes it all again.
END

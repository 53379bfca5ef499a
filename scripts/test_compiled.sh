#!/usr/bin/env bash
# make test-compiled: what the image ships is the relay compiled, so what drives the relay is tested on that build as
# well. No Docker Engine is needed. Arguments go to pytest; a path among them replaces the usual folders.
. "$(dirname "$0")/machine/stand.sh"

install_packages "${TEST_PACKAGES[@]}"
ensure_environment
ensure_compiled_environment
folders=(tests/router/relay tests/end_to_end tests/oracle)
# Which build answers makes no difference to a browser, and in nginx mode none does.
ignored=(--ignore-glob='*/test_page*.py')
for name in labels mode refused retries; do ignored+=("--ignore=tests/end_to_end/test_nginx_$name.py"); done
for argument; do
	if [ -e "${argument%%::*}" ]; then folders=(); fi
	if [ -f "${argument%%::*}" ]; then ignored=(); fi
done
say "tests on the compiled build in $(compiled_path)"
# Not src on the path: it would hide what is installed. tests/conftest.py makes sure that it is the compiled build.
FASTROUTE_TEST_BUILD=compiled exec "$(compiled_path)/bin/python" -m pytest -o pythonpath=tests "${folders[@]}" "${ignored[@]}" "$@"

#!/usr/bin/env bash
# make check: everything about the code that can be seen without running it.
. "$(dirname "$0")/machine/stand.sh"

ensure_environment
failed=()
check() {
	local name=$1
	shift
	step "$name" "$@" || failed+=("$name")
}
check "format" "$VENV/bin/ruff" format --check .
check "ruff" "$VENV/bin/ruff" check .
check "mypy" "$VENV/bin/mypy"
check "import contracts" "$VENV/bin/lint-imports"
check "shellcheck" "$VENV/bin/shellcheck" --external-sources --severity=warning scripts/*.sh scripts/machine/*.sh .ci/run
[ "${#failed[@]}" = 0 ] || die "not clean: ${failed[*]}" "see above; '$VENV/bin/ruff format . && $VENV/bin/ruff check --fix .' mends some"
say "clean"

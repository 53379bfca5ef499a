#!/usr/bin/env bash
# make check: everything about the code that can be seen without running it.
. "$(dirname "$0")/stand.sh"
. "$SCRIPTS/environment.sh"

ensure_environment test check
failed=()
check() {
	local name=$1
	shift
	step "$name" "$@" || failed+=("$name")
}
check "ruff" "$VENV/bin/ruff" check .
check "mypy" "$VENV/bin/mypy"
check "import contracts" "$VENV/bin/lint-imports"
for script in scripts/*.sh .ci/run; do check "bash -n $script" bash -n "$script"; done 2>/dev/null
[ "${#failed[@]}" = 0 ] || die "not clean: ${failed[*]}" "see above; '$VENV/bin/ruff check --fix .' mends some"
say "clean"

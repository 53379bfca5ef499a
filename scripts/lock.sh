#!/usr/bin/env bash
# Write requirements.lock anew: the newest versions within pyproject.toml's ranges, as pip resolves them today.
. "$(dirname "$0")/machine/stand.sh"

ensure_environment test check
report=$(mktemp /tmp/fastroute-lock.XXXXXX.json)
"$VENV/bin/python" -m pip install --quiet --dry-run --ignore-installed --report "$report" --editable '.[test,check]'
"$VENV/bin/python" - "$report" >requirements.lock <<'PY'
import json, sys
print("# What CI and the image install, exactly: a constraints file for pip.  Made anew from pyproject.toml's ranges by")
print("#   scripts/lock.sh")
found = [row["metadata"] for row in json.load(open(sys.argv[1]))["install"]]
print("\n".join(sorted(f"{one['name'].lower()}=={one['version']}" for one in found if one["name"] != "fastroute")))
PY
rm -f "$report"

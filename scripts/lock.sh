#!/usr/bin/env bash
# Write requirements/*.lock anew from pyproject.toml's ranges: what tests, image and demo install, each file with its hash,
# for Python 3.11 and later on every platform. Pins that still fit stay; `scripts/lock.sh --upgrade` takes the newest.
. "$(dirname "$0")/machine/stand.sh"

ensure_python
scratch=$(mktemp -d /tmp/fastroute-lock.XXXXXX)
# shellcheck disable=SC2154 # ensure_python has set it
"$python" -m venv "$scratch/venv"
"$scratch/venv/bin/python" -m pip install --quiet 'uv>=0.8,<1'
# uv does not read pip's settings: the index at least.
index=${PIP_INDEX_URL:-$("$scratch/venv/bin/python" -m pip config get global.index-url 2>/dev/null || true)}
if [ -n "$index" ]; then export UV_DEFAULT_INDEX=${UV_DEFAULT_INDEX:-$index}; fi

# The compiler of the relay as setup.py names it, and what builds a wheel as pyproject.toml does.
compiler=$(sed -n 's/^MYPY = "\(.*\)"$/\1/p' setup.py)
builder=$(sed -n 's/^requires = \["\(setuptools.*\)"\]$/\1/p' pyproject.toml)
server=$(sed -n 's/^    "\(gunicorn.*\)",$/\1/p' pyproject.toml)
if [ -z "$compiler" ] || [ -z "$builder" ] || [ -z "$server" ]; then
	die "setup.py or pyproject.toml names MYPY, setuptools or gunicorn in another way than before" "correct the three lines above this in $0"
fi

# lock NAME OPTIONS...: standard input names what is wanted, besides the sources in OPTIONS.
lock() {
	local name=$1
	shift
	"$scratch/venv/bin/uv" pip compile --quiet --universal --python-version 3.11 --generate-hashes --no-annotate \
		--custom-compile-command scripts/lock.sh "$@" --output-file "requirements/$name.lock" - >/dev/null ||
		die "requirements/$name.lock could not be made" "see above: the ranges contradict each other, or the index is out of reach"
	say "requirements/$name.lock: $(grep -c '==' "requirements/$name.lock") packages"
}

printf '%s\n' "$builder" "$compiler" | lock development pyproject.toml --extra certs --extra test --extra check "$@"
: | lock runtime pyproject.toml --constraint requirements/development.lock --upgrade
: | lock certs pyproject.toml --extra certs --constraint requirements/development.lock --upgrade
printf '%s\n' "$builder" "$compiler" | lock build --constraint requirements/development.lock --upgrade
printf '%s\n' "$server" | lock demo --constraint requirements/development.lock --upgrade
rm -rf "$scratch"

#!/usr/bin/env bash
# make test: all tests, those on a Docker Engine too. Arguments go to pytest.
. "$(dirname "$0")/machine/stand.sh"

# What tests drive and Debian has: nginx and the real uWSGI (oracle tests). Their services are not started.
TEST_PACKAGES=(nginx uwsgi-core uwsgi-plugin-python3 iproute2 curl systemd)

say "make test installs what it needs: Debian packages (${TEST_PACKAGES[*]}), and Python packages into $VENV"
install_packages "${TEST_PACKAGES[@]}"
ensure_environment
ensure_docker "make test"
exec "$VENV/bin/python" -m pytest "$@"

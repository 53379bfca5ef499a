#!/usr/bin/env bash
# make fuzz: DATAGRAMS (10,000,000) forged datagrams through a router's authenticator and table, in one process and virtual time.
# Fails at a crash, at a change of what is others', or when memory grew. SEED (1) makes another run.
datagrams=${DATAGRAMS:-10000000}
. "$(dirname "$0")/machine/stand.sh"

ensure_environment
say "make fuzz: $datagrams datagrams, seed ${SEED:-1}"
PYTHONPATH=tests exec "$VENV/bin/python" -m fuzz.datagrams "$datagrams" "${SEED:-1}"

#!/usr/bin/env bash
# make engine-stop: end the dockerd that make started, with its address pool's route. Any other engine is left alone.
. "$(dirname "$0")/machine/stand.sh"
one_at_a_time
stop_engine

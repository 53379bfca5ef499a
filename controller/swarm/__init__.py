"""Controllers of one swarm: those on managers tell the others what only managers may read."""

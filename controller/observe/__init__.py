"""Looking at the world: Docker and probes.  Edges; what they see goes to the deciding thread as messages."""

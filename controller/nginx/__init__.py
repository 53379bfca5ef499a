"""Reaching nginx: by commands and signals on this machine, or through the agent beside it.  Standard library only."""

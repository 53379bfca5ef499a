"""Proving to a CA that a host is ours: by HTTP through the routers, by DNS through a command."""

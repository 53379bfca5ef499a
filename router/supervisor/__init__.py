"""The workers that the router runs itself: one process that starts, announces, replaces and ends them.

Standard library only, as ``sidecar/``, whose parts it is made of.
"""

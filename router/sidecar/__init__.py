"""Announcing a worker from beside it: find its address, wait until it accepts, keep its lease, withdraw before it ends.

Standard library only: it runs as the first process of other people's containers, and inside their applications.
"""

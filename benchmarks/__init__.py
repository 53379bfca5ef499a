"""Our router beside its peers, in one run: ``python -m benchmarks``.  See docs/benchmarks.md."""

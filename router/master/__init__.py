"""The master process: holds what outlives a child, starts children, replaces them.  Standard library only."""

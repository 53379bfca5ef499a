"""The control process: the truth about pools, and the edges that feed and show it."""

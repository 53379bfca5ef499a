"""What people write and we read while we run: static nodes, our own FILE; and the state that outlives us."""

"""What a chain of proxies costs, ours and those of others: the same workers, the same load, alternating rounds."""

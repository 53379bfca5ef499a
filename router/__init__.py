"""The fastrouter: usable alone. The relay and everything it imports is standard library only."""

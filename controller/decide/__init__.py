"""From what was seen to what should be routed: pure, no clock, no I/O."""

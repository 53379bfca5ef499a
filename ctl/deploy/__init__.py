"""``fastroute-ctl rollout``: what is decided (pure), and the edges that look and act."""

"""Hypothesis: one profile for every run; a busy machine is no failure."""

from hypothesis import HealthCheck, settings

settings.register_profile("fastroute", deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("fastroute")

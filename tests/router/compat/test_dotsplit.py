"""Hosts that uWSGI's dotsplit looks up besides."""

from __future__ import annotations

from fastroute.router.compat.dotsplit import dotsplits


def test_dotsplit_keeps_the_leading_dot_and_stops_after_five_lookups() -> None:
    assert dotsplits(b"a.b.c.d.e.f") == [b".b.c.d.e.f", b".c.d.e.f", b".d.e.f", b".e.f"]

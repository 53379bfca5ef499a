"""Gives a sink each desired state as the loop does: with what is different from the one before."""

from __future__ import annotations

from weakref import WeakKeyDictionary

from fastroute.controller.desired import Desired, RouteDiff, Sink

_applied: WeakKeyDictionary[Sink, Desired] = WeakKeyDictionary()


def apply(sink: Sink, desired: Desired) -> None:
    """``sink`` gets ``desired``."""
    diff = RouteDiff.between(_applied.get(sink, {}), desired)
    _applied[sink] = desired
    sink.apply(desired, diff)

"""The numbers of a relay on their way to control: what has changed, and all of it when control asks for it anew."""

from __future__ import annotations

from typing import Any

from fastroute.router.relay.channel import ControlChannel
from fastroute.router.relay.context import RelayContext
from fastroute.router.relay.ejecting import judge_answers
from fastroute.router.relay.held_shares import HeldShares
from fastroute.router.relay.request import Requests


class ReportSender:
    """Tells control by ``channel``; ``context.reports`` has the rows that wait to be told."""

    def __init__(self, context: RelayContext, requests: Requests, channel: ControlChannel) -> None:
        self._context = context
        self._requests = requests
        self._channel = channel
        #: How many requests there were, and were in flight, when it was told last.
        self._told = (-1, -1)

    def begin_anew(self) -> None:
        """Control is a new one, which does not know what the old one was told."""
        self._told = (-1, -1)

    def report(self) -> None:
        """Tell what has changed, as much as one report has."""
        context = self._context
        self.send_counters(context.reports.rows(context.total - self._told[0]))
        if context.spans is not None:
            self._channel.send_spans(*context.spans.take())

    def send_counters(self, limit: int) -> None:
        """Tell the totals, if they have changed, and ``limit`` rows that may wait besides those that may not."""
        context = self._context
        totals: dict[str, Any] = {}
        in_flight = len(self._requests.by_upstream)
        if self._told != (context.total, in_flight):
            self._told = (context.total, in_flight)
            totals = {"requests": context.total, "in_flight": in_flight}
        if context.errors_changed:
            totals["errors"] = dict(context.errors)
            context.errors_changed = False
        if totals or context.reports.nodes or context.reports.pools:
            nodes, pools = context.reports.take(limit)
            judge_answers(context, nodes)
            self._channel.send_counters(nodes, pools, totals)

    def give_back(self, held: HeldShares) -> None:
        """Give back what is needed no more of nodes' ``max``: others may have it as soon as control knows."""
        context = self._context
        self._channel.send_held(held.lower(context.replica, context.reports, bool(self._requests.kept)))
        if held.completed():
            self._channel.send(["leaving", []])

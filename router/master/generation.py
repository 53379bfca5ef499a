"""The children that serve with one set of settings: the plan of what the master starts.

A new configuration is a new generation beside the old one: its relays start, its control stands by until it may have
the state, and only when all serve does the old one's work end.  What did not change is shared.
"""

from __future__ import annotations

from dataclasses import dataclass, field, fields

from fastroute.router.config.settings import Settings
from fastroute.router.master.child_process import ChildProcess, RelayChannel, RelayProcess, ended
from fastroute.router.master.sockets import ListeningSockets, descriptors
from fastroute.router.master.supervisor_handle import SupervisorHandle
from fastroute.router.runtime.inheritance import READY, STANDBY, Inheritance
from fastroute.router.runtime.own_sockets import describe

#: Settings that no relay reads: all else that changes replaces the relays.
CONTROL_ONLY = frozenset((
    "subscription_server", "stats", "tolerance", "node", "key_grace", "stale_max", "state_dir",
    "subscription_secret_file", "subscription_sign_check", "subscription_allow", "admin_token_file",
    "workers",
))  # fmt: skip
#: Settings of the master itself, which it has for life.
FIXED = ("run_dir", "uid", "gid", "pidfile", "logto", "vacuum")


@dataclass(slots=True, eq=False)
class SharedResources:
    """What all generations of one master share: lifeline, pipe of reports, the state's memory files, old channels.

    ``leaving``: relays of earlier generations that finish what they have; ``foreign``: control's ends of the channels
    of another router's relays, which do the same.  ``watchdog``: seconds that control may be silent; 0: for ever.
    """

    lifeline_fd: int
    report_fd: int
    state_fds: list[int]
    foreign: list[int]
    workers: SupervisorHandle
    watchdog: float = 0.0
    leaving: list[RelayProcess] = field(default_factory=list)


class Generation:
    """``control`` and ``relays`` of ``settings``, and ``others``, which end after the last relay.

    ``elsewhere``: the children are another router's, and none of them is ours.
    """

    def __init__(
        self,
        settings: Settings,
        sockets: ListeningSockets,
        common: SharedResources,
        before: Generation | None = None,
        *,
        elsewhere: bool = False,
    ) -> None:
        self.settings, self.sockets, self._common, self._before = settings, sockets, common, before
        self.elsewhere = elsewhere
        #: Where the fronts really listen.
        self.bound = [listener.name for listener in sockets.front]
        self._own_sockets = describe([*sockets.front, *sockets.admin, *sockets.stats])
        self.relays: list[RelayProcess]
        if elsewhere:
            self.relays = []
        elif before is not None and not relays_change(before, self):
            self.relays = before.relays
        else:
            self.relays = [self._relay(index) for index in range(settings.processes)]
        self.control = ChildProcess("control", "fastroute.router.control.main", self._for_control)
        self.others = [] if elsewhere else common.workers.children(settings)

    @property
    def children(self) -> list[ChildProcess]:
        """All, control first."""
        return [self.control, *self.others, *self.relays]

    @property
    def stands_by(self) -> bool:
        """Control could take the state."""
        return self.control.word in (STANDBY, READY)

    @property
    def ready(self) -> bool:
        """All serve."""
        return self.control.word == READY

    def settle(self) -> None:
        """The generation before is gone."""
        self._before = None

    def _relay(self, index: int) -> RelayProcess:
        relay = RelayProcess(f"relay-{index}", "fastroute.router.relay.main", lambda: self._for_relay(relay, index))
        relay.channel = RelayChannel.open()
        return relay

    def _for_relay(self, relay: RelayProcess, index: int) -> Inheritance:
        return Inheritance(
            self.settings.to_json(), index, self._common.lifeline_fd, channel_fd=relay.channel.theirs,
            listen_fds=descriptors(self.sockets.front), own_sockets=self._own_sockets,
        )  # fmt: skip

    def _for_control(self) -> Inheritance:
        sockets, common = self.sockets, self._common
        earlier = common.leaving + (self._before.relays if self._before is not None else [])
        leaving = [relay.channel.ours for relay in earlier if relay not in self.relays]
        return Inheritance(
            self.settings.to_json(), lifeline_fd=common.lifeline_fd, report_fd=common.report_fd,
            channel_fds=[relay.channel.ours for relay in self.relays],
            leaving_fds=[fd for fd in (*leaving, *common.foreign) if not ended(fd)],
            subscription_fds=descriptors(sockets.subscription) + ([common.workers.control_fd] if self.others else []),
            admin_fds=descriptors(sockets.admin), stats_fds=descriptors(sockets.stats),
            state_fds=common.state_fds, own=self.bound, own_sockets=self._own_sockets,
            signs_of_life=common.watchdog / 3,
        )  # fmt: skip


def relays_change(before: Generation, after: Generation) -> bool:
    """Whether relays of ``before`` can't go on in ``after``."""
    fronts = descriptors(before.sockets.front) != descriptors(after.sockets.front)
    # Relays that map keys to sockets have to know which ones are ours.
    mapping = after.settings.base is not None or after.settings.pattern is not None
    control_only = CONTROL_ONLY - {"stats"} if mapping else CONTROL_ONLY
    return fronts or any(
        getattr(before.settings, one.name) != getattr(after.settings, one.name)
        for one in fields(Settings)
        if one.name not in control_only
    )

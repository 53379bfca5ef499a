"""The children that serve with one set of settings: the plan of what the master starts.

A new configuration is a new generation beside the old one: its relays start, its control stands by until it may have
the state, and only when all serve does the old one's work end.  What did not change is shared.
"""

from __future__ import annotations

from dataclasses import dataclass, field, fields

from fastroute.router.config.settings import Settings
from fastroute.router.master.child_process import ChildProcess, RelayChannel, RelayProcess, relay_ended
from fastroute.router.master.page_files import PageFile, read_pages
from fastroute.router.master.sockets import ListeningSockets, descriptors
from fastroute.router.master.supervisor_handle import SUPERVISOR, SupervisorHandle
from fastroute.router.runtime.inheritance import READY, STANDBY, Inheritance
from fastroute.router.runtime.own_sockets import describe

#: Settings that no relay reads: a change of any other one replaces the relays.
CONTROL_ONLY = frozenset((
    "subscription_server", "challenge_server", "challenge_node", "stats", "tolerance", "node", "key_grace", "stale_max",
    "state_dir",
    "subscription_secret_file", "subscription_sign_check", "subscription_allow", "admin_token_file",
    "workers",
))  # fmt: skip
#: Settings of the master itself, which only a restart changes.
FIXED = ("run_dir", "uid", "gid", "pidfile", "logto", "vacuum")


#: The modules that control and relays run.
CONTROL, RELAY = "fastroute.router.control.main", "fastroute.router.relay.main"


@dataclass(slots=True, eq=False)
class SharedResources:
    """What all generations of one master share."""

    #: Read end of a pipe that only the master can write to: a child that reads its end knows that the master is gone.
    lifeline_fd: int
    #: Where children report their state.
    report_fd: int
    #: The memory files in which one control leaves the state for the next.
    state_fds: list[int]
    #: Control's ends of the channels to another router's relays, which finish their requests.
    foreign_channels: list[int]
    supervisor: SupervisorHandle
    #: Seconds that control may be silent; 0: for ever.
    watchdog: float = 0.0
    #: Relays of earlier generations, which finish their requests.
    leaving_relays: list[RelayProcess] = field(default_factory=list)


class Generation:
    """The children of one set of settings."""

    def __init__(
        self,
        settings: Settings,
        sockets: ListeningSockets,
        shared: SharedResources,
        predecessor: Generation | None = None,
        *,
        external: bool = False,
    ) -> None:
        self.settings, self.sockets, self._shared, self._predecessor = settings, sockets, shared, predecessor
        #: The pages of ``--error-pages``, as they are now.
        self.pages: PageFile | None = None
        if not external:
            self.pages = read_pages(settings.error_pages, None if predecessor is None else predecessor.pages)
        #: A placeholder for the router that we take over from: none of its children is ours.
        self.external = external
        #: Where the fronts really listen.
        self.bound = [listener.name for listener in sockets.front]
        self._own_sockets = describe([*sockets.fronts, *sockets.admin, *sockets.admin_read, *sockets.stats])
        self.relays: list[RelayProcess]
        if external:
            self.relays = []
        elif predecessor is not None and not relays_change(predecessor, self):
            self.relays = predecessor.relays
        else:
            self.relays = [self._relay(index) for index in range(settings.processes)]
        self.control = ChildProcess("control", CONTROL, self._for_control)
        #: Children that end after the last relay.
        self.others = [] if external else shared.supervisor.children(settings)

    @property
    def children(self) -> list[ChildProcess]:
        """All, control first."""
        return [self.control, *self.others, *self.relays]

    @property
    def stands_by(self) -> bool:
        """Control could take the state."""
        return self.control.state in (STANDBY, READY)

    @property
    def ready(self) -> bool:
        """All serve."""
        return self.control.state == READY

    def close_except(self, needed: Generation) -> None:
        """Close the sockets and the pages that the generation ``needed`` does not have."""
        self.sockets.close_except(needed.sockets)
        if self.pages is not None and self.pages is not needed.pages:
            self.pages.close()

    def forget_predecessor(self) -> None:
        """The generation before has ended."""
        self._predecessor = None

    def _relay(self, index: int) -> RelayProcess:
        relay = RelayProcess(f"relay-{index}", RELAY, lambda: self._for_relay(relay, index))
        relay.channel = RelayChannel.open()
        return relay

    def _for_relay(self, relay: RelayProcess, index: int) -> Inheritance:
        return Inheritance(
            self.settings.to_json(), index, self._shared.lifeline_fd, channel_fd=relay.channel.relay_end,
            listen_fds=descriptors(self.sockets.front), http_fds=descriptors(self.sockets.front_http),
            own_sockets=self._own_sockets,
            pages_fd=-1 if self.pages is None else self.pages.fd,
        )  # fmt: skip

    def _for_control(self) -> Inheritance:
        sockets, shared = self.sockets, self._shared
        earlier = shared.leaving_relays + (self._predecessor.relays if self._predecessor is not None else [])
        leaving = [relay.channel.control_end for relay in earlier if relay not in self.relays]
        worker_subscriptions = [shared.supervisor.control_fd] if self.others else []
        return Inheritance(
            self.settings.to_json(), lifeline_fd=shared.lifeline_fd, report_fd=shared.report_fd,
            channel_fds=[relay.channel.control_end for relay in self.relays],
            leaving_fds=[fd for fd in (*leaving, *shared.foreign_channels) if not relay_ended(fd)],
            subscription_fds=descriptors(sockets.subscription) + worker_subscriptions,
            challenge_fds=descriptors(sockets.challenge), admin_fds=descriptors(sockets.admin),
            admin_read_fds=descriptors(sockets.admin_read), stats_fds=descriptors(sockets.stats),
            state_fds=shared.state_fds, own=self.bound, own_sockets=self._own_sockets,
            signs_of_life=shared.watchdog / 3,
        )  # fmt: skip


def relays_change(before: Generation, after: Generation) -> bool:
    """Whether relays of ``before`` can't go on in ``after``."""
    fronts = descriptors(before.sockets.fronts) != descriptors(after.sockets.fronts)
    # Relays that map keys to sockets have to know which ones are ours.
    mapping = after.settings.base is not None or after.settings.pattern is not None
    control_only = CONTROL_ONLY - {"stats"} if mapping else CONTROL_ONLY
    return (
        fronts
        or before.pages is not after.pages
        or any(
            getattr(before.settings, setting.name) != getattr(after.settings, setting.name)
            for setting in fields(Settings)
            if setting.name not in control_only
        )
    )


def programs(settings: Settings) -> list[str]:
    """The modules that the children of ``settings`` run."""
    return [CONTROL, RELAY, *([SUPERVISOR] if settings.workers else [])]

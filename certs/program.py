"""``fastroute-certs`` as a whole: puts the rooms together.

SIGTERM and SIGINT end it: what is announced is withdrawn, orders go on in its next life, certificates stay.  SIGHUP has
it look at the disk, which it does by itself, too.
"""

from __future__ import annotations

import logging
import os
import signal
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from types import FrameType

from prometheus_client import CollectorRegistry

from fastroute.certs.admin import HttpServers
from fastroute.certs.challenge.responder import ChallengeResponder
from fastroute.certs.events import CertsEvents
from fastroute.certs.loop import CertsLoop
from fastroute.certs.metrics import CertificatesCollector
from fastroute.certs.settings import NOT_ASKED, CertsSettings
from fastroute.certs.sources import StatusSource
from fastroute.certs.store.pairs import PairStore
from fastroute.certs.store.state_file import StateDirectory
from fastroute.certs.store.watch import DirectoryWatch
from fastroute.router.runtime import logs
from fastroute.router.runtime.descriptor_limit import raise_descriptor_limit
from fastroute.router.runtime.free_memory import keep_little_free_memory
from fastroute.router.runtime.inheritance import StartError
from fastroute.router.runtime.listen import open_streams
from fastroute.router.runtime.notify import Notifier
from fastroute.router.runtime.signals import signals_handled

#: Permissions of unix sockets: of the admin, and of the challenges.
_SOCKET_MODE = 0o660
#: Others of this machine get nothing of what we write; nginx gets it by its group.
_UMASK = 0o027
#: Libraries whose own lines say nothing to operators, or what an order consists of.
_QUIET = ("acme", "httpcore", "httpx", "asyncio", "urllib3")

log = logging.getLogger("fastroute.certs")


def run(settings: CertsSettings) -> int:
    """Run until a signal ends it."""
    logs.set_up(settings.log_format, settings.log_level)
    for name in _QUIET:
        logging.getLogger(name).setLevel(logging.WARNING)
    raise_descriptor_limit()
    os.umask(_UMASK)
    directory = Path(settings.certificates)
    store, state = PairStore(directory), StateDirectory(directory / ".state")
    try:
        store.open()
    except OSError as error:
        raise StartError(f"--certificates {directory}: {error.strerror}") from None
    state.open()
    with ExitStack() as stack:
        stack.callback(state.close)
        challenge = open_streams([settings.challenge], _SOCKET_MODE) if settings.asks else []
        admin = open_streams([settings.admin], _SOCKET_MODE) if settings.admin else []
        events, registry, responder = CertsEvents(), CollectorRegistry(), ChallengeResponder()
        loop = CertsLoop(settings, store, state, events)
        loop.sources = _sources(settings, loop)
        if settings.asks:
            # Not imported otherwise: what speaks ACME has 8 MB.
            from fastroute.certs.ca.asking import attempts_of

            loop.attempts = attempts_of(settings, loop.inbox.began, store, state, responder, stack)
        else:
            log.info("%s: certificates are self-signed", NOT_ASKED)
        registry.register(CertificatesCollector(loop))
        servers = HttpServers(loop, events, registry, responder, admin, challenge, settings.admin_token_file)
        servers.start()
        stack.callback(servers.stop)
        watch = DirectoryWatch(directory, loop.look_again)
        watch.start()
        stack.callback(watch.stop)
        for source in loop.sources:
            source.start()
            stack.callback(source.stop)
        notifier = Notifier(os.environ)
        with _signals(loop, servers, notifier):
            notifier.ready("watches")
            keep_little_free_memory()
            loop.run()
    return 0


def _sources(settings: CertsSettings, loop: CertsLoop) -> list[StatusSource]:
    urls = dict.fromkeys((*settings.router_url, *settings.controller_url))
    return [StatusSource(url, settings.token_file, loop.inbox.post) for url in urls]


@contextmanager
def _signals(loop: CertsLoop, servers: HttpServers, notifier: Notifier) -> Iterator[None]:
    def end(number: int, frame: FrameType | None) -> None:
        notifier.stopping()
        servers.end()
        loop.stop()

    def hang_up(number: int, frame: FrameType | None) -> None:
        loop.look_again()

    with signals_handled({signal.SIGTERM: end, signal.SIGINT: end, signal.SIGHUP: hang_up}):
        yield

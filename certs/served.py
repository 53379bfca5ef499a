"""The certificates that are served: what is on disk, self-signed stand-ins, and the marks for nginx.

Only the loop's thread uses it; but any thread may read :attr:`ServedCertificates.by_host`.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Mapping

from fastroute.certs.decide import schedule
from fastroute.certs.decide.hosts import MAX_HOSTS, HostTls
from fastroute.certs.decide.records import HostRecord
from fastroute.certs.decide.schedule import Certificate
from fastroute.certs.events import CertsEvents
from fastroute.certs.store.markers import HostMarkers
from fastroute.certs.store.pairs import PairStore, StoreError
from fastroute.certs.store.x509 import self_signed
from fastroute.router.runtime.logs import RateLimit

#: Self-signed pairs of one turn of the loop, which has more to do.
MAX_SELF_SIGNED = 100
#: Seconds between two warnings about one thing that can't be written.
WARNING_INTERVAL = 300.0

log = logging.getLogger("fastroute.certs")


class ServedCertificates:
    """The pairs in ``store``."""

    def __init__(self, store: PairStore, events: CertsEvents) -> None:
        self._store, self._events = store, events
        self.by_host: dict[str, Certificate] = {}
        #: Why a host has no pair, or an old one.
        self.problems: dict[str, str] = {}
        self._markers = HostMarkers(store.directory)
        self._warnings = RateLimit(WARNING_INTERVAL)

    def load(self) -> None:
        """Find what is on disk."""
        self.by_host, problems = self._store.scan()
        for host, problem in problems.items():
            self._events.write("warning", f"its pair on disk can't be served and is replaced: {problem}", host)

    def choose(self, hosts: Mapping[str, HostTls], *, labelled: bool) -> dict[str, HostTls]:
        """Put aside the certificates of hosts that want none.  Returns at most ``MAX_HOSTS`` hosts that want one."""
        wanted = {host: tls for host, tls in hosts.items() if tls.mode != "off" and (tls.labelled or not labelled)}
        for host, tls in hosts.items():
            certificate = self.by_host.get(host)
            if tls.mode == "off" and certificate is not None and not certificate.foreign:
                self._put_aside(host)
        if len(wanted) > MAX_HOSTS:
            self._warn("hosts", f"{len(wanted)} hosts want a certificate, and {MAX_HOSTS} get one")
            wanted = {host: wanted[host] for host in sorted(wanted)[:MAX_HOSTS]}
        return wanted

    def _put_aside(self, host: str) -> None:
        try:
            self._store.put_aside(host)
        except OSError as error:
            self._warn("aside", f"{host}: its certificate can't be put aside: {error.strerror}")
            return
        del self.by_host[host]
        self._events.write("removed", "fastroute.tls says off: its certificate is put aside", host)

    def follow_disk(self, *, thoroughly: bool = False) -> None:
        """Notice what people have done to pairs: one that they removed is forgotten, so that it is made anew with a new
        key, and one that they put there is taken as it is.  ``thoroughly``: read theirs again, as somebody renews them.
        """
        for host, certificate in list(self.by_host.items()):
            owner = self._store.owner(host)
            if not owner:
                del self.by_host[host]
                self._events.write("info", "its pair has been removed: it gets a new one, with a new key", host)
            elif (owner == "theirs") != certificate.foreign or (thoroughly and certificate.foreign):
                try:
                    self.by_host[host] = self._store.read(host)
                    self.problems.pop(host, None)
                except StoreError as error:
                    self.problems[host] = str(error)
                    self._warn(f"pair {host}", f"{host}: what was put there can't be served: {error}")

    def stand_in(self, wanted: Mapping[str, HostTls], busy: set[str], now: float) -> bool:
        """Give each of ``wanted`` without a pair the one put aside, or a self-signed one; renew self-signed ones.

        Returns whether some have to wait for the next turn: one makes ``MAX_SELF_SIGNED`` at most.
        """
        pairs_made = 0
        for host in wanted:
            certificate = self.by_host.get(host)
            if certificate is not None and (host in busy or not _is_old_stand_in(host, certificate, now)):
                continue
            if pairs_made >= MAX_SELF_SIGNED:
                return True
            pairs_made += 1
            put_aside = self._store.take_back(host) if certificate is None else None
            if put_aside is not None:
                self.by_host[host] = put_aside
                continue
            try:
                self.by_host[host] = self._store.install(host, self_signed(host, now, self._store.key(host)))
            except StoreError as error:
                self.problems[host] = str(error)
                self._warn("pairs", f"{host}: no self-signed certificate: {error}")
                continue
            self.problems.pop(host, None)
            if certificate is None:
                self._events.write("self-signed", "a self-signed certificate stands in", host)
        return False

    def issued(self, host: str, certificate: Certificate) -> None:
        """A new pair has been put in place."""
        self.by_host[host] = certificate
        self.problems.pop(host, None)

    def remove(self, host: str) -> None:
        """Nobody serves the host any more."""
        if self.by_host.pop(host, None) is not None:
            try:
                self._store.remove(host)
                self._events.write("removed", "nobody serves it any more", host)
            except OSError as error:
                self._warn("removal", f"{host}: its pair can't be removed: {error.strerror}")
        self.problems.pop(host, None)

    def mark(self, wanted: Mapping[str, HostTls], now: float) -> None:
        """Tell nginx which hosts are redirected to HTTPS: those that ask for it and have a valid certificate."""
        certificates = self.by_host
        valid = {host: tls for host, tls in wanted.items() if host in certificates and certificates[host].valid(now)}
        try:
            self._markers.follow(valid)
        except OSError as error:
            self._warn("marks", f"the marks for nginx can't be written: {error.strerror}")

    def _warn(self, subject: str, text: str) -> None:
        """Log ``text``, at most once in ``WARNING_INTERVAL`` for each ``subject``."""
        if self._warnings.allow(subject, time.monotonic()) is not None:
            log.warning("%s", text)


def _is_old_stand_in(host: str, certificate: Certificate, now: float) -> bool:
    if not certificate.self_signed or certificate.foreign:
        return False
    return now >= schedule.renewal_time(HostRecord(host), certificate)

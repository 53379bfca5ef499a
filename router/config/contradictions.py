"""Settings of the router that contradict each other.  Pure."""

from __future__ import annotations

from collections.abc import Mapping

from fastroute.router.config.configuration import ConfigurationError, Resolved
from fastroute.router.config.settings import Settings
from fastroute.router.protocol.address import Address


def refuse_contradictions(settings: Settings, values: Mapping[str, Resolved]) -> None:
    """``ConfigurationError`` where settings that are right by themselves contradict each other, by their ``values``."""
    if settings.run_dir and settings.workers:
        text = f"this router runs workers of its own ({settings.workers[0].at}), which no other can take over"
        raise ConfigurationError(f"{values['run_dir'].origin}: {text}; remove one of the two")
    if not settings.listen:
        raise ConfigurationError(f"{values['listen'].origin}: at least one ADDR to listen on expected")
    taken: dict[tuple[bool, Address], str] = {}
    for field in ("listen", "listen_http", "subscription_server", "challenge_server", "stats", "admin", "admin_read"):
        value = getattr(settings, field)
        for address in value if isinstance(value, tuple) else [value] if value else []:
            if address.kind == "inet" and not address.port:
                continue
            udp = field in ("subscription_server", "challenge_server") and address.kind == "inet"
            if other := taken.get((udp, address)):
                at_fault, holder = (field, other) if values[field].origin != "default" else (other, field)
                problem = "given twice" if at_fault == holder else f"taken by {holder.replace('_', '-')}"
                raise ConfigurationError(f"{values[at_fault].origin}: {address} is {problem}")
            taken[udp, address] = field

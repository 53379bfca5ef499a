"""A service of a compose file, as far as ``check`` looks at it.  Pure."""

from __future__ import annotations

from dataclasses import dataclass, field


@dataclass(slots=True)
class Service:
    """What the labels of one service mean; places are ``FILE:LINE``."""

    name: str
    at: str
    labels: dict[str, tuple[str, str]] = field(default_factory=dict)
    of_files: dict[str, tuple[str, str]] = field(default_factory=dict)
    expose: list[int] = field(default_factory=list)
    networks: list[str] = field(default_factory=list)
    healthcheck: str = ""
    #: Entrypoint and command, and where they stand.
    words: tuple[str, str] = ("", "")
    of_swarm: dict[str, tuple[str, str]] = field(default_factory=dict)
    #: Variables with their places.
    environment: dict[str, tuple[str, str]] = field(default_factory=dict)
    #: Files of nginx's configuration that it mounts or is built with.
    nginx_files: list[str] = field(default_factory=list)

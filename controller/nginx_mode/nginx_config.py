"""Desired routes to the files of one configuration.  Pure: the same state makes the same bytes, whatever its order.

``fastroute.conf`` is what nginx includes; ``keys/NAME.conf`` has a key's upstream, and the server if the key is a whole
host; ``locations/NAME.conf`` has one path of a host.  Absolute names of files begin with :data:`GENERATION`, which
becomes the directory they end up in.  A value that nginx could misread, or a key that it can't serve, takes only
its own key out, and is a problem to show.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field

from fastroute.controller.desired import Desired, Route, RouteKey
from fastroute.controller.nginx_mode.names import Unservable, file_name, site_of
from fastroute.controller.nginx_mode.quoting import Unquotable, quoted
from fastroute.controller.nginx_mode.rendering import Templates, templates_of
from fastroute.controller.nginx_mode.sites import Location, ServerBlock, server_blocks
from fastroute.controller.nginx_mode.template_values import LocationValues, PassTarget, PortTarget, ServerValues
from fastroute.controller.nginx_mode.tls_options import TlsOptions, certificate_folder
from fastroute.controller.nginx_mode.unsupported import Version
from fastroute.controller.nginx_mode.upstreams import ConfigProblem, NginxUpstream, make_upstream
from fastroute.controller.nginx_mode.user_templates import UserTemplates

GENERATION = "@generation@"
_HASH = "@hash@"
#: Where ACME asks every host.
_CHALLENGES = "/.well-known/acme-challenge"
ENTRY = "fastroute.conf"
#: Directives that can't stand twice in a location or in a named one, or make it forget what its server says of errors.
_DIRECTIVES_OF_EVENTS = re.compile(r"error_page|_buffering\b|\b(?:include|location|alias|proxy_pass)\b")
#: The directive by which errors count, which can't stand twice in a location: what an include says of it counts.
_DIRECTIVE_OF_ERRORS = re.compile(r"_next_upstream\b")


@dataclass(frozen=True, slots=True)
class NginxOptions:
    """What is the same for all keys."""

    #: What every server listens on.
    listen: tuple[str, ...] = ("80",)
    #: The loopback address at which nginx answers which configuration it runs.
    status: str = "127.0.0.1:3035"
    #: The networks whose ``X-Forwarded-*`` headers count.
    trusted_proxies: tuple[str, ...] = ()
    #: None: no HTTPS.
    tls: TlsOptions | None = None
    #: Where ACME challenges of all hosts are answered by HTTP; None: by nobody but the host's own containers.
    challenge: str | None = None
    #: Of the nginx that reads this; None: nobody has said it.
    version: Version = None


@dataclass(frozen=True, slots=True)
class AbsentContainer:
    """A container that has the key and is not in its upstream, and why."""

    container: str
    state: str
    reason: str


@dataclass(frozen=True, slots=True)
class ConfigState:
    """All that a configuration is made from."""

    desired: Desired
    #: The containers that are not in, by key; under "" those that have no key.
    absent: Mapping[str, tuple[AbsentContainer, ...]] = field(default_factory=dict)
    #: The keys that are kept out (their requests get 503), and why.
    quarantined: Mapping[str, str] = field(default_factory=dict)
    #: The quarantined keys that are left out altogether, as if nobody had them.
    dropped: frozenset[str] = frozenset()


@dataclass(frozen=True, slots=True)
class Rendered:
    """One configuration."""

    #: The texts by relative name.
    files: Mapping[str, str]
    #: A hash of what the texts mean: comments don't count.
    hash: str
    #: The keys that each file belongs to.
    owners: Mapping[str, tuple[str, ...]]
    #: The routes that nginx gets.
    served: Desired
    #: What could not be done as desired.
    problems: tuple[ConfigProblem, ...]

    def installed(self, directory: str) -> dict[str, str]:
        """The texts as they stand in ``directory``."""
        return {name: text.replace(GENERATION, directory) for name, text in self.files.items()}


def render(state: ConfigState, user_templates: UserTemplates, options: NginxOptions) -> Rendered:
    """The configuration of ``state``; ``TemplateProblem`` when a template is broken."""
    return _Rendering(state, user_templates, options, templates_of(user_templates)).result()


class _Rendering:
    def __init__(
        self, state: ConfigState, user_templates: UserTemplates, options: NginxOptions, templates: Templates
    ) -> None:
        self._state, self._includes, self._templates = state, user_templates.includes, templates
        self._version = options.version
        self._common = {
            "generation": GENERATION,
            "hash": _HASH,
            "listen": options.listen,
            "status": options.status,
            "trusted_proxies": options.trusted_proxies,
            "trusted_file": None,
            "routers": (),
            "tls": options.tls,
            "challenge": options.challenge,
        }
        self._files: dict[str, str] = {}
        self._owners: dict[str, tuple[str, ...]] = {}
        self._problems: list[ConfigProblem] = []
        self._upstreams: dict[str, NginxUpstream] = {}
        self._by_key: dict[str, list[Route]] = {}
        # Keys that have an upstream and no location.
        self._lost: set[str] = set()
        self._collect()

    def _collect(self) -> None:
        for route in self._state.desired.values():
            self._by_key.setdefault(route.entry.key, []).append(route)
        for key in sorted(self._by_key):
            upstream = self._upstream(key, self._by_key[key])
            if upstream is not None:
                self._upstreams[key] = upstream
                self._problems += upstream.problems

    def _upstream(self, key: str, routes: Iterable[Route]) -> NginxUpstream | None:
        """None: nginx can't serve the key at all; without servers if it is set aside."""
        try:
            quoted(f"/{site_of(key).authority}{site_of(key).path}")
            if key in self._state.dropped:
                self._problems.append(
                    ConfigProblem(key, "", f"not served: {self._state.quarantined.get(key, 'refused')}")
                )
                return None
            if key in self._state.quarantined:
                self._problems.append(ConfigProblem(key, "", f"set aside: {self._state.quarantined[key]}"))
                return make_upstream(key, ())
            upstream = make_upstream(key, routes, self._version)
            for server in upstream.servers:
                quoted(server.address)
        except (Unservable, Unquotable) as problem:
            self._problems.append(ConfigProblem(key, "", f"not served: {problem}"))
            return None
        return upstream

    def result(self) -> Rendered:
        servers = server_blocks(self._upstreams)
        by_host = {server.host: server for server in servers}
        for key in (key for server in servers for key in server.left_out):
            text = "not served: each port of a host costs nginx a block in each location, and there are too many"
            self._problems.append(ConfigProblem(key, "", text))
            self._lost.add(key)
        for key in sorted(self._upstreams.keys() | by_host.keys()):
            self._key_file(key, by_host.get(key))
        used = {name for key in self._upstreams for name in _include_names(key)}
        for name in sorted(self._includes.keys() & used):
            if not self._is_quarantined_include(name):
                self._files[f"includes/{name}"] = self._includes[name].text
                self._owners[f"includes/{name}"] = self._keys_of_include(name)
        unnamed = self._state.absent.get("", ())
        self._files[ENTRY] = self._templates.render("fastroute.conf.j2", **self._common, absent=unnamed)
        digest = _digest(self._files)
        self._files[ENTRY] = self._files[ENTRY].replace(_HASH, digest)
        served: dict[RouteKey, Route] = {}
        for key in sorted(self._upstreams.keys() - self._lost):
            upstream = self._upstreams[key]
            routes = {route.id: route for route in upstream.routes}
            served.update(routes or self._empty(key))
        return Rendered(
            dict(sorted(self._files.items())), digest, self._owners, served, tuple(dict.fromkeys(self._problems))
        )

    def _empty(self, key: str) -> dict[RouteKey, Route]:
        """The key without nodes, as it is in a desired state."""
        first = min(self._by_key[key], key=lambda route: route.id)
        route = Route(first.entry.for_key, first.container)
        return {route.id: route}

    def _key_file(self, key: str, server: ServerBlock | None) -> None:
        upstream = self._upstreams.get(key)
        name = f"keys/{file_name(key)}.conf"
        place = None
        if server:
            place = ServerValues(server.host, tuple(self._location(server, location) for location in server.locations))
        self._owners[name] = (
            (key,)
            if upstream
            else tuple(location.key for location in server.locations if location.key)
            if server
            else ()
        )
        self._files[name] = self._templates.render(
            "key.conf.j2",
            **self._common,
            key=key,
            upstream=upstream,
            absent=self._state.absent.get(key, ()) if upstream else (),
            problems=[problem for problem in self._problems if problem.key == key],
            place=place,
            speaks_http=any(location.speaks_http for location in place.locations) if place else False,
            include=self._include(f"{file_name(server.host)}.conf") if server else None,
            folder=certificate_folder(server.host) if server else None,
            own_challenges=bool(server and any(location.path == _CHALLENGES for location in server.locations)),
        )

    def _location(self, server: ServerBlock, location: Location) -> LocationValues:
        """One location of ``server``; a path's own file is written here."""
        path, file = location.path, None
        if path:
            name = f"locations/{file_name(server.host + path)}.conf"
            file = f"{GENERATION}/{name}"
        target, ports = self._target(location.key), self._ports(location)
        passed = {target.kind, *(port.target.kind for port in ports)} & {"uwsgi", "http"}
        include = f"{file_name(location.key)}.location.conf" if location.key else None
        values = LocationValues(
            selectors=(f"= {quoted(path)}", quoted(f"{path}/")) if path else ("/",),
            target=target,
            ports=ports,
            include=self._include(include) if include else None,
            events=self._events_location(location) if passed else None,
            file=file,
            ejects=self._ejects(location, [target, *(port.target for port in ports)]),
        )
        if path:
            self._files[name] = self._templates.render("location.conf.j2", **self._common, location=values)
            self._owners[name] = tuple(key for key in (location.key, *(key for _, key in location.ports)) if key)
        return values

    def _ports(self, location: Location) -> tuple[PortTarget, ...]:
        """The ports that have a key of their own, but those that need other modifiers than the rest."""
        target = self._target(location.key)
        uwsgi = target if target.kind == "uwsgi" else None
        ports = []
        for number, key in location.ports:
            target = self._target(key)
            if target.kind == "uwsgi":
                uwsgi = uwsgi or target
                if (target.modifier1, target.modifier2) != (uwsgi.modifier1, uwsgi.modifier2):
                    text = f"not served: nginx can't tell its modifiers from those of {location.key}"
                    self._problems.append(ConfigProblem(key, "", text))
                    self._lost.add(key)
                    continue
            ports.append(PortTarget(number, target))
        return tuple(ports)

    def _events_location(self, location: Location) -> str | None:
        """Where server-sent events go on; None where an include has directives that this needs for itself."""
        include = self._includes.get(f"{file_name(location.key)}.location.conf") if location.key else None
        return None if include and _DIRECTIVES_OF_EVENTS.search(include.text) else f"@fastroute_events{location.path}"

    def _ejects(self, location: Location, targets: Iterable[PassTarget]) -> bool:
        """Whether answers with an error count as failures: nginx has one rule for all keys of a location."""
        asked = {target.upstream: target.ejects for target in targets if target.upstream}
        if not any(asked.values()):
            return False
        include = self._includes.get(f"{file_name(location.key)}.location.conf") if location.key else None
        if include and _DIRECTIVE_OF_ERRORS.search(include.text):
            return False
        if all(asked.values()):
            return True
        text = "eject errors has no effect: nginx has one rule for all ports of a host, and another's key has it not"
        keys = (key for key in (location.key, *(key for _, key in location.ports)) if key)
        self._problems += (ConfigProblem(key, "", text) for key in keys if self._upstreams[key].ejects)
        return False

    def _target(self, key: str | None) -> PassTarget:
        if key is None:
            return PassTarget("no-key")
        upstream = self._upstreams[key]
        if not upstream.alive:
            return PassTarget("no-node")
        return PassTarget(upstream.protocol, upstream.name, upstream.modifier1, upstream.modifier2, upstream.ejects)

    def _include(self, name: str) -> str | None:
        if name not in self._includes or self._is_quarantined_include(name):
            return None
        return f"{GENERATION}/includes/{name}"

    def _is_quarantined_include(self, name: str) -> bool:
        """An include is not read where all of its keys are set aside.  Else it is: others are never served without."""
        return all(key in self._state.quarantined for key in self._keys_of_include(name))

    def _keys_of_include(self, name: str) -> tuple[str, ...]:
        return tuple(key for key in self._upstreams if name in _include_names(key))


def _include_names(key: str) -> tuple[str, str]:
    return f"{file_name(site_of(key).host)}.conf", f"{file_name(key)}.location.conf"


def digest_of(files: Mapping[str, str], hash: str) -> str:
    """The hash of files as they were rendered, ``hash`` being the one that stands in them."""
    return _digest({**files, ENTRY: files.get(ENTRY, "").replace(hash, _HASH)})


def _digest(files: Mapping[str, str]) -> str:
    """Of everything that nginx acts upon: comments may change without a reload."""
    digest = hashlib.blake2b(digest_size=10)
    for name in sorted(files):
        meant = files[name]
        if not name.startswith("includes/"):
            lines = map(str.strip, meant.splitlines())
            meant = "\n".join(line for line in lines if line and not line.startswith("#"))
        digest.update(f"{name}\0{meant}\0".encode())
    return digest.hexdigest()

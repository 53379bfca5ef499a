"""The labels in a compose file, read as the controller will read them on the containers.  Pure; files come by ``load``.

Only what decides about routing is looked at.  ``include`` and ``extends`` are followed, YAML's merge keys and compose's
variables are filled in; a variable that nobody sets is empty, as it is for compose.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import PurePath

import yaml

from fastroute.controller.decide.labels import Labels, RouteSpec, is_labelled, parse_labels
from fastroute.ctl.problem import Problem
from fastroute.router.config.configuration import ConfigurationError
from fastroute.router.config.configuration_file import document, is_null, where

#: Files included by files included by ...
_MAX_DEPTH = 8
_MERGE = "<<"
_VARIABLE = re.compile(r"\$(?:(\$)|(\w+)|\{(\w+)(?:(:?[-?+])([^}]*))?\})")
#: A uwsgi command that ends at SIGTERM, or whose file may say so.
_UWSGI_TOLD = re.compile(r"--die-on-term|--ini|--yaml|\.(ini|ya?ml)\b")
#: Stands for the port that only the image knows.
_SOME_PORT = 1

Load = Callable[[str], bytes]


@dataclass(slots=True)
class _Service:
    """What the labels of one service mean; places are ``FILE:LINE``."""

    name: str
    at: str
    labels: dict[str, tuple[str, str]] = field(default_factory=dict)
    expose: list[int] = field(default_factory=list)
    networks: list[str] = field(default_factory=list)
    healthcheck: str = ""
    words: tuple[str, str] = ("", "")
    of_swarm: dict[str, tuple[str, str]] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class ComposeReader:
    """``environ`` are compose's variables, ``prefix`` is the controller's ``--label-prefix``."""

    load: Load
    environ: Mapping[str, str]
    prefix: str = "fastroute"

    def check(self, file: str) -> tuple[list[Problem], int]:
        """What is wrong in ``file`` and what it includes, and how many services want to be routed."""
        services = [*self._services(file, 0)]
        found = [(one, self._parsed(one)) for one in services if is_labelled(self._texts(one), self.prefix)]
        problems = [problem for one, labels in found for problem in self._of_labels(one, labels)]
        for one, labels in found:
            problems += _advice(one, labels, self.prefix)
        problems += _conflicts(found)
        problems += [problem for one in services for problem in self._of_swarm(one)]
        return problems, sum(bool(labels.routes) for _, labels in found)

    # From text to services.

    def _services(self, file: str, depth: int) -> Iterator[_Service]:
        if depth > _MAX_DEPTH:
            raise ConfigurationError(f"{file}: included more than {_MAX_DEPTH} levels deep")
        root = _mapping(document(self.load(file), file))
        for other in _sequence(root.get("include")):
            for path in self._paths(other):
                yield from self._services(_beside(file, path), depth + 1)
        for name, node in _mapping(root.get("services")).items():
            yield self._service(file, name, node, depth)

    def _paths(self, node: yaml.Node) -> list[str]:
        paths = _mapping(node).get("path", node)
        return [text for one in _sequence(paths) or [paths] if (text := self._text(one))]

    def _service(self, file: str, name: str, node: yaml.Node, depth: int) -> _Service:
        parts = _mapping(node)
        service = self._base(file, name, node, parts, depth)
        service.name, service.at = name, where(node, file)
        service.labels |= self._pairs(parts.get("labels"), file)
        service.of_swarm |= self._pairs(_mapping(parts.get("deploy")).get("labels"), file)
        for port in _sequence(parts.get("expose")):
            number = self._text(port).partition("/")[0]
            service.expose += [int(number)] if number.isdecimal() else []
        networks = parts.get("networks")
        service.networks += _mapping(networks) or [self._text(one) for one in _sequence(networks)]
        if (check := parts.get("healthcheck")) is not None:
            disabled = self._text(_mapping(check).get("disable")).lower() in ("true", "yes", "on")
            service.healthcheck = "" if disabled or not _mapping(check).get("test") else where(check, file)
        for part in ("command", "entrypoint"):
            said = parts.get(part)
            if said is not None and (words := " ".join(self._text(one) for one in _sequence(said) or [said])):
                service.words = f"{service.words[0]} {words}".strip(), where(said, file)
        return service

    def _base(self, file: str, name: str, node: yaml.Node, parts: Mapping[str, yaml.Node], depth: int) -> _Service:
        """What the service extends, or nothing yet."""
        extends = parts.get("extends")
        if extends is None or depth > _MAX_DEPTH:
            return _Service(name, where(node, file))
        other = self._text(_mapping(extends).get("service")) or self._text(extends)
        path = self._text(_mapping(extends).get("file"))
        target = _beside(file, path) if path else file
        found = _mapping(_mapping(document(self.load(target), target)).get("services")).get(other)
        if found is None:
            raise ConfigurationError(f"{where(extends, file)}: extends: no service {other!r} in {target}")
        return self._service(target, other, found, depth + 1)

    def _pairs(self, node: yaml.Node | None, file: str) -> dict[str, tuple[str, str]]:
        """Labels, written as a mapping or as a list of NAME=VALUE: name -> value and place."""
        found = {name: (self._text(value), where(value, file)) for name, value in _mapping(node).items()}
        for item in _sequence(node):
            name, _, value = self._text(item).partition("=")
            found[name] = (value, where(item, file))
        return found

    def _text(self, node: yaml.Node | None) -> str:
        if not isinstance(node, yaml.ScalarNode) or is_null(node):
            return ""
        return _VARIABLE.sub(self._variable, str(node.value))

    def _variable(self, match: re.Match[str]) -> str:
        dollar, plain, braced, operator, rest = match.groups()
        if dollar:
            return "$"
        name = plain or braced
        value, given = self.environ.get(name, ""), name in self.environ
        if operator and operator[0] == ":":
            given = bool(value)
        if operator and operator[-1] == "+":
            return rest if given else ""
        return value if given or not operator or operator[-1] == "?" else rest

    # From services to problems.

    def _texts(self, service: _Service) -> dict[str, str]:
        return {name: value for name, (value, _) in service.labels.items()}

    def _parsed(self, service: _Service) -> Labels:
        return parse_labels(self._texts(service), tuple(service.expose) or (_SOME_PORT,), self.prefix)

    def _of_labels(self, service: _Service, labels: Labels) -> list[Problem]:
        return [
            Problem("error", _place(service, problem), f"service {service.name}: {problem}")
            for problem in labels.problems
        ]

    def _of_swarm(self, service: _Service) -> list[Problem]:
        ours = [at for name, (_, at) in service.of_swarm.items() if name.startswith(f"{self.prefix}.")]
        text = "labels under deploy: are the Swarm service's, not its containers': they belong under labels:"
        return [Problem("warning", ours[0], f"service {service.name}: {text}")] if ours else []


def _place(service: _Service, problem: str) -> str:
    """Where the label stands that ``problem`` is about: the longest name that it mentions."""
    named = [name for name in service.labels if re.search(rf"(?<![\w.]){re.escape(name)}(?![\w-]|\.\w)", problem)]
    return service.labels[max(named, key=len)][1] if named else service.at


def _advice(service: _Service, labels: Labels, prefix: str) -> Iterator[Problem]:
    """What works, but not as well as it looks."""
    words, at = service.words
    name = f"service {service.name}"
    for route in labels.routes:
        label = f"{prefix}.{route.name}.probe" if route.name else f"{prefix}.probe"
        if route.probe == "tcp" and route.protocol == "uwsgi" and not service.healthcheck and route.weight:
            text = "uWSGI and gunicorn accept connections before the application is loaded, and only the port is probed"
            cure = f"add {label}: /PATH (or a healthcheck, unless the image has one)"
            yield Problem("warning", _of_route(service, route, prefix), f"{name}: {text}: {cure}")
        if re.search(r"\bgunicorn\b", words) and route.protocol == "uwsgi" and "uwsgi" not in words:
            text = "gunicorn speaks HTTP unless it is told --protocol uwsgi (or label it protocol: http)"
            yield Problem("warning", at, f"{name}: {text}")
    runs_uwsgi = re.search(r"\buwsgi\b", words) and "gunicorn" not in words
    if labels.routes and runs_uwsgi and not _UWSGI_TOLD.search(words):
        text = "uwsgi without --die-on-term reloads at SIGTERM: docker stop would have to kill it"
        yield Problem("warning", at, f"{name}: {text}")


def _of_route(service: _Service, route: RouteSpec, prefix: str) -> str:
    name = f"{prefix}.{route.name}.key" if route.name else f"{prefix}.key"
    return service.labels[name][1] if name in service.labels else service.at


def _conflicts(found: list[tuple[_Service, Labels]]) -> Iterator[Problem]:
    """Services that want different algorithms for one key: the oldest container's would count."""
    first: dict[str, tuple[_Service, str]] = {}
    for service, labels in found:
        for route in labels.routes:
            for key in route.keys:
                if route.algorithm:
                    other, algorithm = first.setdefault(key, (service, route.algorithm))
                    if algorithm != route.algorithm:
                        text = f"algorithm of {key}: {route.algorithm} here, {algorithm} by service {other.name};"
                        yield Problem("warning", service.at, f"service {service.name}: {text} the older container wins")


# YAML's tree.


def _mapping(node: yaml.Node | None) -> dict[str, yaml.Node]:
    """Names to values, with merge keys filled in; empty for anything else."""
    if not isinstance(node, yaml.MappingNode):
        return {}
    found: dict[str, yaml.Node] = {}
    for key, value in node.value:
        if isinstance(key, yaml.ScalarNode) and key.value == _MERGE:
            for one in _sequence(value) or [value]:
                found = {**_mapping(one), **found}
    return found | {
        key.value: value for key, value in node.value if isinstance(key, yaml.ScalarNode) and key.value != _MERGE
    }


def _sequence(node: yaml.Node | None) -> list[yaml.Node]:
    return list(node.value) if isinstance(node, yaml.SequenceNode) else []


def _beside(file: str, path: str) -> str:
    return str(PurePath(file).parent / path)

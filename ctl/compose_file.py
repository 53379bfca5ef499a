"""The labels in a compose file, read as the controller will read them on the containers.  Pure; files come by ``load``.

Only what decides about routing is looked at.  ``include``, ``extends`` and ``label_file`` are followed, YAML's merge
keys and compose's variables are filled in (:mod:`.compose_text`); a variable that nobody sets is empty, as it is for
compose.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, replace
from pathlib import PurePath

import yaml

from fastroute.controller.decide.labels import Labels, RouteSpec, is_labelled, parse_labels
from fastroute.ctl import compose_limits
from fastroute.ctl.compose_service import Service
from fastroute.ctl.compose_text import ComposeProblem, interpolated, plain_scalar, read_env_file
from fastroute.ctl.problem import Problem
from fastroute.router.config.configuration import ConfigurationError
from fastroute.router.config.configuration_file import decode, document, is_null, where
from fastroute.router.protocol.key import less_specific
from fastroute.router.protocol.node_options import KEY_SETTINGS, non_defaults, text_of

#: Files included by files included by ...
_MAX_DEPTH = 8
_MERGE = "<<"
#: A uwsgi command that ends at SIGTERM, or whose file may say so.
_UWSGI_TOLD = re.compile(r"--die-on-term|--hook-master-start|--ini|--yaml|\.(ini|ya?ml)\b")
#: Stands for the port that only the image knows.
_SOME_PORT = 1

Load = Callable[[str], bytes]


@dataclass(frozen=True, slots=True)
class ComposeReader:
    """``environ`` are compose's variables (an ``.env`` has more), ``prefix`` is the controller's ``--label-prefix``."""

    load: Load
    environ: Mapping[str, str]
    prefix: str = "fastroute"

    def check(self, file: str) -> tuple[list[Problem], int]:
        """What is wrong in ``file`` and what it includes, and how many services want to be routed."""
        services = self.services(file)
        labelled = [
            (service, self._parsed(service)) for service in services if is_labelled(self._texts(service), self.prefix)
        ]
        problems = [problem for service, labels in labelled for problem in self._of_labels(service, labels)]
        for service, labels in labelled:
            problems += _advice(service, labels, self.prefix)
        problems += self._of_limits(services, labelled)
        problems += _conflicts(labelled)
        problems += _hidden(labelled, self.prefix)
        problems += [problem for service in services for problem in self._of_swarm(service)]
        return problems, sum(bool(labels.routes) for _, labels in labelled)

    # From text to services.

    def services(self, file: str) -> list[Service]:
        """The services of ``file`` and of what it includes, with their labels."""
        services = [*replace(self, environ={**self._dotenv(file), **self.environ})._services(file, 0)]
        for service in services:
            # Whatever a file says: labels of the service itself, and of those that it extends, go before it.
            service.labels = {**service.of_files, **service.labels}
        return services

    def _services(self, file: str, depth: int) -> Iterator[Service]:
        if depth > _MAX_DEPTH:
            raise ConfigurationError(f"{file}: included more than {_MAX_DEPTH} levels deep")
        root = _mapping(document(self.load(file), file))
        for other in _sequence(root.get("include")):
            for path in self._paths(other, file):
                included = _beside(file, path)
                reader = replace(self, environ={**self._dotenv(included), **self.environ})
                yield from reader._services(included, depth + 1)
        for name, node in _mapping(root.get("services")).items():
            yield self._service(file, name, node, depth)

    def _paths(self, node: yaml.Node, file: str) -> list[str]:
        paths = _mapping(node).get("path", node)
        return [text for item in _sequence(paths) or [paths] if (text := self._text(item, file))]

    def _service(self, file: str, name: str, node: yaml.Node, depth: int) -> Service:
        parts = _mapping(node)
        service = self._base(file, name, node, parts, depth)
        service.name, service.at = name, where(node, file)
        service.labels |= self._pairs(parts.get("labels"), file)
        files = parts.get("label_file")
        for item in [] if files is None else _sequence(files) or [files]:
            service.of_files |= self._label_file(item, file)
        service.of_swarm |= self._pairs(_mapping(parts.get("deploy")).get("labels"), file)
        for port in _sequence(parts.get("expose")):
            number = self._text(port, file).partition("/")[0]
            service.expose += [int(number)] if number.isdecimal() else []
        service.environment |= self._pairs(parts.get("environment"), file)
        service.nginx_files += self._nginx_files(parts, file)
        networks = parts.get("networks")
        service.networks += _mapping(networks) or [self._text(item, file) for item in _sequence(networks)]
        if (check := parts.get("healthcheck")) is not None:
            disabled = self._text(_mapping(check).get("disable"), file).lower() in ("true", "yes", "on")
            service.healthcheck = "" if disabled or not _mapping(check).get("test") else where(check, file)
        for part in ("command", "entrypoint"):
            value = parts.get(part)
            if value is not None and (
                words := " ".join(self._text(item, file) for item in _sequence(value) or [value])
            ):
                service.words = f"{service.words[0]} {words}".strip(), where(value, file)
        return service

    def _nginx_files(self, parts: Mapping[str, yaml.Node], file: str) -> Iterator[str]:
        """What a service mounts below /etc/nginx, and what our own stack's nginx is built with."""
        for item in _sequence(parts.get("volumes")):
            source, _, target = self._text(item, file).partition(":")
            source = self._text(_mapping(item).get("source"), file) or source
            target = self._text(_mapping(item).get("target"), file) or target
            if target.startswith("/etc/nginx/") and source.startswith((".", "/")):
                yield _beside(file, source)
        build = _mapping(parts.get("build"))
        if self._text(build.get("target"), file) == "nginx" and (context := self._text(build.get("context"), file)):
            name = self._text(_mapping(parts.get("environment")).get("FASTROUTE_NGINX_CONF"), file) or "nginx.conf"
            yield _beside(file, f"{context}/compose/nginx/{name}")

    def _base(self, file: str, name: str, node: yaml.Node, parts: Mapping[str, yaml.Node], depth: int) -> Service:
        """What the service extends, or nothing yet."""
        extends = parts.get("extends")
        if extends is None or depth > _MAX_DEPTH:
            return Service(name, where(node, file))
        other = self._text(_mapping(extends).get("service"), file) or self._text(extends, file)
        path = self._text(_mapping(extends).get("file"), file)
        target = _beside(file, path) if path else file
        base = _mapping(_mapping(document(self.load(target), target)).get("services")).get(other)
        if base is None:
            raise ConfigurationError(f"{where(extends, file)}: extends: no service {other!r} in {target}")
        return self._service(target, other, base, depth + 1)

    def _pairs(self, node: yaml.Node | None, file: str) -> dict[str, tuple[str, str]]:
        """Labels, written as a mapping or as a list of NAME=VALUE: name -> value and place."""
        pairs = {name: (self._text(value, file), where(value, file)) for name, value in _mapping(node).items()}
        for item in _sequence(node):
            name, _, value = self._text(item, file).partition("=")
            pairs[name] = (value, where(item, file))
        return pairs

    def _label_file(self, node: yaml.Node, file: str) -> dict[str, tuple[str, str]]:
        """Labels in a file of NAME=VALUE.  Its variables are its own: compose does not fill in others there."""
        path = _beside(file, self._text(node, file))
        try:
            pairs = read_env_file(decode(self.load(path), path), {})
        except ComposeProblem as problem:
            raise ConfigurationError(f"{path}:{problem.line}: {problem}") from None
        return {name: (value, f"{path}:{line}") for name, (value, line) in pairs.items()}

    def _dotenv(self, file: str) -> dict[str, str]:
        """Compose's own ``.env`` beside ``file``, if it is there."""
        path = _beside(file, ".env")
        try:
            text = decode(self.load(path), path)
        except ConfigurationError:
            return {}
        try:
            return {name: value for name, (value, _) in read_env_file(text, self.environ).items()}
        except ComposeProblem as problem:
            raise ConfigurationError(f"{path}:{problem.line}: {problem}") from None

    def _text(self, node: yaml.Node | None, file: str) -> str:
        if not isinstance(node, yaml.ScalarNode) or is_null(node):
            return ""
        text = plain_scalar(node.value) if node.style is None else str(node.value)
        try:
            return interpolated(text, self.environ)
        except ComposeProblem as problem:
            raise ConfigurationError(f"{where(node, file)}: {problem}") from None

    # From services to problems.

    def _texts(self, service: Service) -> dict[str, str]:
        return {name: value for name, (value, _) in service.labels.items()}

    def _parsed(self, service: Service) -> Labels:
        return parse_labels(self._texts(service), tuple(service.expose) or (_SOME_PORT,), self.prefix)

    def _of_labels(self, service: Service, labels: Labels) -> list[Problem]:
        return [
            Problem("error", _place(service, problem), f"service {service.name}: {problem}")
            for problem in labels.problems
        ]

    def _of_limits(self, services: list[Service], labelled: list[tuple[Service, Labels]]) -> Iterator[Problem]:
        """What is wrong with ``wait`` and ``max`` of the services."""
        timeout = compose_limits.front_timeout(services, self.load)
        routes = {service.name: labels.routes for service, labels in labelled}
        for service in services:
            options = [(route, route.options) for route in routes.get(service.name, ())]
            waits = [
                (each.wait, _of_route(service, route, self.prefix, "wait")) for route, each in options if each.wait
            ]
            yield from compose_limits.of_wait(service, waits, timeout)
            limits = [(each.max, _of_route(service, route, self.prefix, "max")) for route, each in options if each.max]
            yield from compose_limits.of_max(service, limits)

    def _of_swarm(self, service: Service) -> list[Problem]:
        ours = [at for name, (_, at) in service.of_swarm.items() if name.startswith(f"{self.prefix}.")]
        text = "labels under deploy: are the Swarm service's, not its containers': they belong under labels:"
        return [Problem("warning", ours[0], f"service {service.name}: {text}")] if ours else []


def _place(service: Service, problem: str) -> str:
    """Where the label stands that ``problem`` is about: the longest name that it mentions."""
    named = [name for name in service.labels if re.search(rf"(?<![\w.]){re.escape(name)}(?![\w-]|\.\w)", problem)]
    return service.labels[max(named, key=len)][1] if named else service.at


def _advice(service: Service, labels: Labels, prefix: str) -> Iterator[Problem]:
    """What works, but not as well as it looks."""
    words, at = service.words
    name = f"service {service.name}"
    for route in labels.routes:
        label = f"{prefix}.{route.name}.probe" if route.name else f"{prefix}.probe"
        uwsgi = route.options.protocol == "uwsgi"
        if route.probe == "tcp" and uwsgi and not service.healthcheck and route.options.weight:
            text = "uWSGI and gunicorn accept connections before the application is loaded, and only the port is probed"
            cure = f"add {label}: /PATH (or a healthcheck, unless the image has one)"
            yield Problem("warning", _of_route(service, route, prefix), f"{name}: {text}: {cure}")
        if re.search(r"\bgunicorn\b", words) and uwsgi and "uwsgi" not in words:
            text = "gunicorn speaks HTTP unless it is told --protocol uwsgi (or label it protocol: http)"
            yield Problem("warning", at, f"{name}: {text}")
    runs_uwsgi = re.search(r"\buwsgi\b", words) and "gunicorn" not in words
    if labels.routes and runs_uwsgi and not _UWSGI_TOLD.search(words):
        text = "uwsgi without --die-on-term reloads at SIGTERM: docker stop would have to kill it"
        yield Problem("warning", at, f"{name}: {text}")


def _of_route(service: Service, route: RouteSpec, prefix: str, label: str = "key") -> str:
    """The place of ``label`` of ``route``: its own, else that of the one for all routes."""
    names = (f"{prefix}.{route.name}.{label}", f"{prefix}.{label}")
    return next((service.labels[name][1] for name in names if name in service.labels), service.at)


def _conflicts(labelled: list[tuple[Service, Labels]]) -> Iterator[Problem]:
    """Services that want different settings for one key: the oldest container's would count."""
    first: dict[tuple[str, str], tuple[Service, object]] = {}
    for service, labels in labelled:
        for route in labels.routes:
            for key in route.keys:
                for name, value in non_defaults(route.options, KEY_SETTINGS).items():
                    other, earlier = first.setdefault((key, name), (service, value))
                    if earlier != value:
                        text = f"{name} of {key}: {text_of(value)} here, {text_of(earlier)} by service {other.name};"
                        yield Problem("warning", service.at, f"service {service.name}: {text} the older container wins")


def _hidden(labelled: list[tuple[Service, Labels]], prefix: str) -> Iterator[Problem]:
    """Wildcards of one service that a key of another hides, also while that one is stopped: the key stays known."""
    first: dict[str, str] = {}
    has: set[tuple[str, str]] = set()
    for service, labels in labelled:
        for key in (key for route in labels.routes for key in route.keys):
            first.setdefault(key, service.name)
            has.add((service.name, key))
    for service, labels in labelled:
        for route, key in ((each, key) for each in labels.routes for key in each.keys):
            above = next((other for other in less_specific(key) if other in first), "")
            if above.startswith("*.") and (first[above], key) not in has:
                text = f"while it is stopped, {key} is answered 503 and not by service {first[above]}, which serves"
                text += f" {above}"
                cure = f"if that one should, label it {prefix}.rest.key: {key} and {prefix}.rest.backup: 1"
                yield Problem("warning", _of_route(service, route, prefix), f"service {service.name}: {text}; {cure}")


# YAML's tree.


def _mapping(node: yaml.Node | None) -> dict[str, yaml.Node]:
    """Names to values, with merge keys filled in; empty for anything else."""
    if not isinstance(node, yaml.MappingNode):
        return {}
    parts: dict[str, yaml.Node] = {}
    for key, value in node.value:
        if isinstance(key, yaml.ScalarNode) and key.value == _MERGE:
            for item in _sequence(value) or [value]:
                parts = {**_mapping(item), **parts}
    return parts | {
        key.value: value for key, value in node.value if isinstance(key, yaml.ScalarNode) and key.value != _MERGE
    }


def _sequence(node: yaml.Node | None) -> list[yaml.Node]:
    return list(node.value) if isinstance(node, yaml.SequenceNode) else []


def _beside(file: str, path: str) -> str:
    return str(PurePath(file).parent / path)

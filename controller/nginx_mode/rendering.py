"""Templates to text: Jinja2 with strict names, and every error as FILE:LINE.  Pure; the sources come as text."""

from __future__ import annotations

import traceback
from collections.abc import Callable
from functools import lru_cache, partial
from typing import Any

import jinja2
from jinja2.sandbox import SandboxedEnvironment

from fastroute.controller.nginx_mode.quoting import Unquotable, comment, quoted
from fastroute.controller.nginx_mode.user_templates import UserTemplates


class TemplateProblem(ValueError):
    """A template is broken; the message is FILE:LINE: what."""


class Templates:
    """The templates of one :class:`UserTemplates`, compiled once."""

    def __init__(self, user_templates: UserTemplates) -> None:
        self._user_templates = user_templates
        self._environment = SandboxedEnvironment(
            undefined=jinja2.StrictUndefined,
            trim_blocks=True,
            lstrip_blocks=True,
            keep_trailing_newline=True,
            loader=jinja2.FunctionLoader(self._load),
        )
        self._environment.filters.update(quoted=quoted, comment=comment)

    def check(self) -> None:
        """Compile all; ``TemplateProblem`` for the first that is broken."""
        for name in self._user_templates.templates:
            self._guarded(name, partial(self._environment.get_template, name))

    def render(self, name: str, **context: Any) -> str:
        """The text that template ``name`` makes; ``TemplateProblem``, or ``Unquotable`` for a value."""
        return str(self._guarded(name, lambda: self._environment.get_template(name).render(context)))

    def _load(self, name: str) -> tuple[str, str, Callable[[], bool]] | None:
        source = self._user_templates.templates.get(name)
        return (source.text, source.file, lambda: True) if source else None

    def _guarded(self, name: str, call: Callable[[], Any]) -> Any:
        try:
            return call()
        except Unquotable:
            raise
        except jinja2.TemplateSyntaxError as error:
            raise TemplateProblem(f"{error.filename or self._file(name)}:{error.lineno}: {error.message}") from None
        except jinja2.TemplateNotFound as error:
            raise TemplateProblem(f"{self._at(error, name)}: no template is called {error.name}") from None
        except Exception as error:  # a template may do anything that Python can
            raise TemplateProblem(f"{self._at(error, name)}: {error}") from None

    def _file(self, name: str) -> str:
        source = self._user_templates.templates.get(name)
        return source.file if source else name

    def _at(self, error: Exception, name: str) -> str:
        files = {source.file for source in self._user_templates.templates.values()}
        frames = traceback.extract_tb(error.__traceback__)
        places = [f"{frame.filename}:{frame.lineno}" for frame in frames if frame.filename in files]
        return places[-1] if places else self._file(name)


@lru_cache(maxsize=4)
def templates_of(user_templates: UserTemplates) -> Templates:
    """The templates of ``user_templates``; compiling them takes as long as rendering a hundred keys."""
    return Templates(user_templates)

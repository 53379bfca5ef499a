from __future__ import annotations

from collections.abc import Callable, Mapping

from fastroute.router.configuration import ConfigurationError, Given


def read_ini(text: str, file: str, environ: Mapping[str, str], load: Callable[[str], str]) -> Given:
    """To come."""
    raise ConfigurationError(f"{file}: uWSGI INI is not read yet")

"""What a program is given at its start: by flags, by variables, and by its section of a YAML FILE."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import fastroute
from fastroute.router.config.command_line import read_command_line
from fastroute.router.config.configuration import Given, Program, read_environment


def read_sources(program: Program, argv: Sequence[str], environ: Mapping[str, str], width: int) -> list[Given]:
    """The sources for ``resolve``, the strongest first.  ``argv`` is without the program's name.

    Raises ``ConfigurationError`` for what can't be read, ``InfoRequested`` for ``--help`` and ``--version``.
    """
    line = read_command_line(program, argv, fastroute.__version__, width)
    variables = read_environment(program, environ)
    from_file: Given = {}
    if line.file is not None:
        # Only now: a program without FILE needs no YAML.
        from fastroute.router.config.configuration_file import read_file, read_section, sections_of

        from_file = read_section(program, sections_of(read_file(line.file), line.file).get(program.section), line.file)
    return [line.flags, variables, from_file]

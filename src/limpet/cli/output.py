"""What commands print: results to standard output, everything else to standard error.

Colour and frames are for terminals; a pipe gets plain text.
"""

from __future__ import annotations

import json
import sys
from contextlib import contextmanager
from typing import TYPE_CHECKING, NoReturn

import click
from rich.console import Console

from limpet.errors import ConfigError

if TYPE_CHECKING:
    from collections.abc import Iterator

EXIT_FAILED = 1
EXIT_USAGE = 2
EXIT_UNREACHABLE = 4

#: Wide enough for every table: a pipe has no width, and cut columns cannot be read by programs.
_PIPE_WIDTH = 400


def console() -> Console:
    """Return where results are printed."""
    if sys.stdout.isatty():
        return Console(highlight=False)
    return Console(width=_PIPE_WIDTH, highlight=False, no_color=True, force_terminal=False)


def say(message: str) -> None:
    """Tell the operator something, on standard error."""
    click.echo(f"limpet: {message}", err=True)


def counted(number: int, thing: str) -> str:
    """Return `1 session`, `2 sessions`."""
    return f"{number} {thing}{'' if number == 1 else 's'}"


def print_json(value: object) -> None:
    """Print a value as JSON."""
    click.echo(json.dumps(value, indent=2, ensure_ascii=False))


@contextmanager
def told_problems() -> Iterator[None]:
    """End the command with exit code 2 and one line per mistake if the configuration has any."""
    try:
        yield
    except ConfigError as error:
        for problem in error.problems:
            click.echo(problem, err=True)
        sys.exit(EXIT_USAGE)


def fail(message: str, code: int = EXIT_FAILED) -> NoReturn:
    """End the command with a message."""
    say(message)
    sys.exit(code)

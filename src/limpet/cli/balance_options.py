"""The options that `limpet up` and `limpet serve` have in common."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import click

from limpet.config.flags import Flags
from limpet.core.balancing import POLICIES
from limpet.core.stickiness import KINDS

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence


_OPTIONS = [
    click.option(
        "--listen", metavar="HOST:PORT", help="Where clients are served.  [default: 127.0.0.1:8080]"
    ),
    click.option(
        "--algorithm",
        type=click.Choice(list(POLICIES)),
        help="How the target of a new session is chosen.  [default: round_robin]",
    ),
    click.option(
        "--stickiness",
        type=click.Choice(list(KINDS)),
        help="What keeps a session on its target.  [default: lb_cookie; app_cookie with --app-cookie]",
    ),
    click.option("--cookie-name", metavar="NAME", help="limpet's own cookie.  [default: limpet]"),
    click.option(
        "--duration",
        type=click.IntRange(min=0),
        metavar="SECONDS",
        help="Idle time after which a session is free to move; 0 for never.  [default: 86400]",
    ),
    click.option("--app-cookie", metavar="NAME", help="The app's session cookie, for app_cookie."),
    click.option("--header", metavar="NAME", help="The header that names a session, for header."),
    click.option(
        "--workers",
        type=click.IntRange(1, 128),
        help="Processes of the balancer that serve clients.  [default: 1]",
    ),
    click.option("--admin", metavar="HOST:PORT", help="The admin listener.  [default: 127.0.0.1:8081]"),
    click.option(
        "--access-log",
        metavar="PATH",
        help="File to append to; - for standard output, off for none.  [default: -]",
    ),
    click.option(
        "--access-log-format", type=click.Choice(["text", "json"]), help="Form of its lines.  [default: text]"
    ),
]


def balance_options(command: Callable[..., None]) -> Callable[..., None]:
    """Add the options to a command, which gets them as keyword arguments for `flags`."""
    for option in reversed(_OPTIONS):
        command = option(command)
    return command


def flags(targets: Sequence[str | dict[str, Any]], given: dict[str, Any]) -> Flags:
    """Return what was given on the command line.

    Args:
        targets: addresses, or tables as in the file.
        given: the keyword arguments that `balance_options` brought.
    """
    return Flags(targets=tuple(targets), **given)

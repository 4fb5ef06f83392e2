"""`limpet demo`: the three acts on real processes, on a page or as a table."""

from __future__ import annotations

import importlib.util
import os
import socket
import sys
import webbrowser
from typing import TYPE_CHECKING

import click
from rich.table import Table

from limpet.cli.output import EXIT_USAGE, console, fail, say, told_problems
from limpet.demo.modes import MODES

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from limpet.demo.headless import Row
    from limpet.demo.page import PageServer
    from limpet.demo.run import Options
    from limpet.demo.stage import Stage

_LISTEN = "127.0.0.1:8080"
_LIBRARY = "httpx"


@click.command()
@click.option("--listen", metavar="HOST:PORT", help=f"Where the page is.  [default: {_LISTEN}, or any]")
@click.option(
    "--shop", metavar="HOST:PORT", default="127.0.0.1:0", help="Where the shop is.  [default: a free port]"
)
@click.option(
    "--admin",
    metavar="HOST:PORT",
    default="127.0.0.1:0",
    help="The balancer's admin listener.  [default: a free port]",
)
@click.option("--users", type=click.IntRange(5, 200), default=60, show_default=True, help="Simulated people.")
@click.option("--headless", is_flag=True, help="No page: print the story as a table, and end.")
@click.option(
    "--mode",
    "modes",
    type=click.Choice(list(MODES)),
    multiple=True,
    help="With --headless: only this way of keeping people logged in; repeatable.",
)
@click.option(
    "--watch",
    type=click.FloatRange(0, 60),
    default=0.0,
    show_default=True,
    metavar="SECONDS",
    help="With --headless: how much longer settled load is watched in each act.",
)
@click.option("--open/--no-open", "may_open", default=True, help="Open a browser, if there is one.")
def demo(
    listen: str | None,
    shop: str,
    admin: str,
    users: int,
    headless: bool,
    modes: tuple[str, ...],
    watch: float,
    may_open: bool,
) -> None:
    """Watch how people are logged out, and how they are not.

    Five servers, a balancer, a session store and a crowd of simulated people with real cookies, all on this
    machine. On the page you choose how people are kept logged in, kill servers, and join as a user.
    """
    if importlib.util.find_spec(_LIBRARY) is None:
        fail(f"the demo's people need {_LIBRARY}; pip install 'limpet[demo]'", EXIT_USAGE)
    # Only now: they import it.
    from limpet.demo.run import Options, run_headless, run_page  # noqa: PLC0415
    from limpet.replicas.replica import ReplicaError  # noqa: PLC0415

    options = Options(listen=listen or _free(_LISTEN), shop=shop, admin=admin, people=users)
    try:
        with told_problems():
            if headless:
                _print_story(options, modes or tuple(MODES), watch, run_headless)
            else:
                run_page(options, lambda stage, page: _announce(stage, page, may_open=may_open), say)
    except ReplicaError as error:
        fail(str(error))


def _free(address: str) -> str:
    # Something else may be there; nobody has asked for this port.
    host, _, port = address.partition(":")
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((host, int(port)))
        except OSError:
            return f"{host}:0"
    return address


def _announce(stage: Stage, page: PageServer, *, may_open: bool) -> None:
    if stage.store.note:
        say(stage.store.note)
    click.echo(f"limpet: demo on {page.url}")
    click.echo(f"limpet: the shop behind limpet is at {stage.shop_url}, admin on http://{stage.admin.bound}")
    click.echo("limpet: Ctrl-C ends it")
    sys.stdout.flush()
    is_graphical = sys.platform == "darwin" or "DISPLAY" in os.environ or "WAYLAND_DISPLAY" in os.environ
    if may_open and is_graphical and sys.stdout.isatty():
        webbrowser.open(page.url)


def _print_story(options: Options, modes: Sequence[str], watch_s: float, run: Callable[..., None]) -> None:
    rows: list[Row] = []

    def on_row(row: Row) -> None:
        rows.append(row)
        say(f"{row.mode.title}: {row.pages} pages, done")

    run(options, modes, watch_s, on_row, say)
    if rows:
        console().print(_table(rows))


def _table(rows: list[Row]) -> Table:
    table = Table(
        title=f"{rows[0].people} people on five servers; a crowd arrives, then A is killed", box=None
    )
    table.title_justify = "left"
    table.add_column("", style="bold")
    for name in (
        "pages",
        "logouts\nin calm",
        "after the\ncrowd came",
        "when A\nwas killed",
        "pages\nfailed",
        "busiest\n/ mean",
        "p99 ms",
        "store commands\nper page",
    ):
        table.add_column(name, justify="right")
    for row in rows:
        table.add_row(
            row.mode.title,
            str(row.pages),
            str(row.quiet_logouts),
            str(row.other_logouts),
            str(row.death_logouts),
            str(row.failures),
            _shown(row.busiest_to_mean, 2),
            _shown(row.p99_ms, 0),
            _shown(row.commands, 1),
        )
    return table


def _shown(value: float | None, digits: int) -> str:
    return "-" if value is None else f"{value:.{digits}f}"

"""What `limpet up` and `limpet serve` print once they serve.

A pipe gets one line for each listener, which scripts may wait for; a terminal gets a summary.
"""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING

import click
from rich.markup import escape
from rich.table import Table

from limpet import __version__
from limpet.cli.output import console

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from limpet.control.run import Ready
    from limpet.control.state import GroupState
    from limpet.core.address import Address


def announce(app: str | None) -> Callable[[Ready], None]:
    """Return what prints the summary.

    Args:
        app: import string of the app whose replicas the targets are; None for servers elsewhere.
    """

    def print_summary(ready: Ready) -> None:
        if sys.stdout.isatty():
            console().print(_summary(ready, app))
        else:
            for text in _plain(ready):
                click.echo(f"limpet: {text}")
        sys.stdout.flush()

    return print_summary


def _plain(ready: Ready) -> Iterator[str]:
    for listener, address in ready.balancer.bound.items():
        yield f"listening on {_url(address, is_tls=listener.tls is not None)}"
    if ready.admin is not None:
        yield f"admin on {_url(ready.admin)}"


def _summary(ready: Ready, app: str | None) -> Table:
    table = Table(
        title=f"limpet {__version__}", title_justify="left", box=None, show_header=False, pad_edge=False
    )
    table.add_column(style="bold")
    table.add_column(overflow="fold")
    settings = ready.balancer.settings
    for listener, address in ready.balancer.bound.items():
        to = f" -> {listener.group or 'its rules'}" if len(settings.target_groups) > 1 else ""
        url = _url(address, is_tls=listener.tls is not None)
        table.add_row("listening on", f"[bold green]{url}[/]{escape(to)}")
    for group in ready.balancer.state.groups.values():
        name = f"{group.name}: " if len(settings.target_groups) > 1 else ""
        table.add_row("replicas" if app else "targets", escape(f"{name}{_targets(group, app)}"))
        table.add_row("new sessions", escape(f"{name}{group.policy.name}"))
        table.add_row("sticky", escape(f"{name}{_sticky(group)}"))
    table.add_row("access log", escape(_access_log(settings.access_log.path, settings.access_log.format)))
    table.add_row("ticket keys", escape(ready.balancer.keys.origin))
    if ready.admin is not None:
        option = "" if str(ready.admin) == "127.0.0.1:8081" else f" --admin {ready.admin}"
        page = "" if ready.admin.is_unix else f"{_url(ready.admin)}/ in a browser, or "
        table.add_row("look inside", escape(f"{page}limpet status{option}"))
    table.add_row("stop", "Ctrl-C; requests in flight are answered first")
    return table


def _targets(group: GroupState, app: str | None) -> str:
    if app is not None:
        return f"{' '.join(group.targets)} of {app}"
    shown = [f"{state.id} {state.target.address} ({state.health.value})" for state in group.targets.values()]
    return "\n".join(shown)


def _sticky(group: GroupState) -> str:
    settings = group.settings.stickiness
    lasts = group.stickiness_settings.duration_s
    until = f", until idle for {lasts} s" if lasts else ""
    return {
        "off": "off: each request may go elsewhere, and logins in a server's memory are lost",
        "lb_cookie": f"lb_cookie: limpet's cookie {group.stickiness_settings.cookie_name!r}{until}",
        "app_cookie": f"app_cookie: follows the app's cookie {settings.app_cookie!r}{until}",
        "source_ip": "source_ip: the client's address",
        "header": f"header: {settings.header!r}",
    }[settings.type]


def _access_log(path: str, form: str) -> str:
    if path == "off":
        return "off"
    return f"{'standard output' if path == '-' else path}, {form}"


def _url(address: Address, *, is_tls: bool = False) -> str:
    return str(address) if address.is_unix else f"http{'s' if is_tls else ''}://{address}"

"""`limpet status`: targets, their states, and what they carry."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import click
from rich.markup import escape
from rich.table import Table

from limpet.cli.admin_client import admin_option
from limpet.cli.output import console, counted, print_json

if TYPE_CHECKING:
    from limpet.cli.admin_client import AdminClient

_COLOURS = {
    "healthy": "green",
    "unavailable": "green",
    "initial": "yellow",
    "draining": "yellow",
    "unhealthy": "red",
}
_NUMBERS = ("weight", "in_flight", "queued", "sessions", "requests", "errors")


@click.command()
@click.option("--json", "as_json", is_flag=True, help="Print everything, as JSON.")
@admin_option
def status(client: AdminClient, as_json: bool) -> None:
    """Show targets, their health, and what they carry."""
    found = client.get("/status")
    if as_json:
        print_json(found)
        return
    output = console()
    listening = ", ".join(listener["address"] for listener in found["listeners"])
    output.print(
        escape(
            f"limpet {found['limpet']} on {listening}: up for {found['uptime_s']:.0f} s, "
            f"{counted(found['requests'], 'request')}, {counted(found['connections'], 'open connection')}, "
            f"{counted(found['reloads'], 'reload')}"
        )
    )
    for listener in found["listeners"]:
        for certificate in listener["certificates"]:
            names = ", ".join(certificate["names"])
            output.print(escape(f"certificate for {names}: until {certificate['expires']}"))
            if certificate["warning"]:
                output.print(escape(f"warning: {certificate['warning']}"), style="bold red")
    for group in found["target_groups"]:
        title = f"{group['name']}: {group['algorithm']}, stickiness {group['stickiness']}"
        if group["is_failing_open"]:
            title += "; no target is healthy, so all get requests"
        output.print(escape(title), style="bold")
        for source in group["sources"]:
            if source.get("is_failing"):
                since = source["last_success"] or "never"
                output.print(
                    escape(f"{source['source']}: {source['last_error']} (last success: {since})"), style="red"
                )
        output.print(_table(group["targets"]))


def _table(targets: list[dict[str, Any]]) -> Table:
    table = Table(box=None, pad_edge=False)
    for name in ("target", "address", "health"):
        table.add_column(name)
    for name in _NUMBERS:
        table.add_column(name.replace("_", " "), justify="right")
    table.add_column("detail")
    for target in targets:
        health = target["health"]
        table.add_row(
            escape(target["name"]),
            escape(target["address"]),
            f"[{_COLOURS.get(health, 'dim')}]{health}{', leaving' * target['is_terminating']}[/]",
            *[str(target[name]) for name in _NUMBERS],
            escape(target["detail"]),
        )
    return table

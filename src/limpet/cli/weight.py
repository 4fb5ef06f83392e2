"""`limpet weight`: a target's share of new sessions."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

from limpet.cli.admin_client import admin_option, group_option

if TYPE_CHECKING:
    from limpet.cli.admin_client import AdminClient


@click.command()
@click.argument("name")
@click.argument("value", metavar="WEIGHT", type=click.IntRange(0, 1000))
@group_option
@admin_option
def weight(client: AdminClient, name: str, value: int, group: str | None) -> None:
    """Set a target's share of new sessions.

    With 0 it keeps its sessions and gets no new ones.
    """
    path = client.target(name, group).path
    client.call("PUT", f"{path}/weight", {"weight": value})
    click.echo(f"{name}: weight {value}")

"""`limpet add`: a new target, without a restart."""

from __future__ import annotations

from typing import TYPE_CHECKING
from urllib.parse import quote

import click

from limpet.cli.admin_client import admin_option, group_option

if TYPE_CHECKING:
    from limpet.cli.admin_client import AdminClient


@click.command()
@click.argument("url")
@click.option("--name", metavar="NAME", help="Its name; made from the address if absent.")
@click.option(
    "--weight", type=click.IntRange(0, 1000), default=1, show_default=True, help="Share of new sessions."
)
@group_option
@admin_option
def add(client: AdminClient, url: str, name: str | None, weight: int, group: str | None) -> None:
    """Add a target.

    It gets requests after its first successful health check. A reload takes it out again unless
    the configuration file lists it.
    """
    body = {"address": url, "weight": weight, "name": name}
    answer = client.call("POST", f"/targets/{quote(client.group(group), safe='')}", body)
    click.echo(f"{answer['target']['name']}: added, {answer['target']['health']}")

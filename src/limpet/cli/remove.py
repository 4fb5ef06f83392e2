"""`limpet remove`: take a target out."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

from limpet.cli.admin_client import admin_option, group_option

if TYPE_CHECKING:
    from limpet.cli.admin_client import AdminClient


@click.command()
@click.argument("name")
@group_option
@admin_option
def remove(client: AdminClient, name: str, group: str | None) -> None:
    """Take a target out.

    It gets no new request; those in flight have the deregistration delay. A reload brings it back
    if the configuration file lists it.
    """
    path = client.target(name, group).path
    client.call("DELETE", path)
    click.echo(f"{name}: removed")

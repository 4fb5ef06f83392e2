"""`limpet reload`: read the configuration again."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

from limpet.cli.admin_client import admin_option

if TYPE_CHECKING:
    from limpet.cli.admin_client import AdminClient


@click.command()
@admin_option
def reload(client: AdminClient) -> None:
    """Read the configuration again.

    With a mistake in it, nothing changes and the exit code is 2.
    """
    answer = client.call("POST", "/reload")
    click.echo(f"reloaded: version {answer['version']}")

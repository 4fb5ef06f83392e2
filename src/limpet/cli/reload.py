"""`limpet reload`: read the configuration again."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

from limpet.cli.admin_client import admin_option

if TYPE_CHECKING:
    from limpet.cli.admin_client import AdminClient

#: A new process checks its targets before it serves.
_UPGRADE_S = 90.0


@click.command()
@click.option("--binary", is_flag=True, help="Let a new process of the installed limpet take over.")
@admin_option
def reload(client: AdminClient, binary: bool) -> None:
    """Read the configuration again.

    With a mistake in it, nothing changes and the exit code is 2. With --binary a new process takes
    over the listening sockets, and the old one lets its requests finish.
    """
    if binary:
        answer = client.call("POST", "/upgrade", timeout_s=_UPGRADE_S)
        click.echo(f"process {answer['pid']} has taken over")
        return
    answer = client.call("POST", "/reload")
    click.echo(f"reloaded: version {answer['version']}")

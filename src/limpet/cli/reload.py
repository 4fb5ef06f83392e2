"""`limpet reload`: read the configuration again."""

from __future__ import annotations

import sys
import time
from typing import TYPE_CHECKING

import click

from limpet.cli.admin_client import admin_option
from limpet.cli.output import EXIT_FAILED

if TYPE_CHECKING:
    from limpet.cli.admin_client import AdminClient

#: A new process checks its targets before it serves.
_UPGRADE_S = 90.0
_POLL_S = 0.2


@click.command()
@click.option("--binary", is_flag=True, help="Let a new process of the installed limpet take over.")
@click.option("--wait", is_flag=True, help="Return when every target is healthy.")
@click.option(
    "--timeout",
    "timeout_s",
    type=click.FloatRange(min=0),
    metavar="SECONDS",
    help="How long to wait at most.",
)
@admin_option
def reload(client: AdminClient, binary: bool, wait: bool, timeout_s: float | None) -> None:
    """Read the configuration again.

    With a mistake in it, nothing changes and the exit code is 2. With --binary a new process takes
    over the listening sockets, and the old one lets its requests finish.

    With --wait, for a deployment of one server after the other: exit code 1 if --timeout comes
    before all targets are healthy.
    """
    if binary:
        answer = client.call("POST", "/upgrade", timeout_s=_UPGRADE_S)
        click.echo(f"process {answer['pid']} has taken over")
    else:
        answer = client.call("POST", "/reload")
        click.echo(f"reloaded: version {answer['version']}")
    if wait:
        _wait(client, timeout_s)


def _wait(client: AdminClient, timeout_s: float | None) -> None:
    began_s = time.monotonic()
    while missing := _not_healthy(client):
        if timeout_s is not None and time.monotonic() - began_s >= timeout_s:
            click.echo(f"after {timeout_s:g} s: {', '.join(missing)}")
            sys.exit(EXIT_FAILED)
        time.sleep(_POLL_S)
    click.echo("every target is healthy")


def _not_healthy(client: AdminClient) -> list[str]:
    # What drains or is in maintenance is out on purpose.
    return [
        f"{group['name']}/{facts['name']} is {facts['health']}"
        for group in client.get("/status")["target_groups"]
        for facts in group["targets"]
        if facts["health"] in {"initial", "unhealthy"}
    ]

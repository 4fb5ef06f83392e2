"""`limpet drain`: empty a target, and see what that does to its sessions."""

from __future__ import annotations

import sys
import time
from typing import TYPE_CHECKING

import click

from limpet.cli.admin_client import admin_option, group_option
from limpet.cli.output import EXIT_FAILED, counted

if TYPE_CHECKING:
    from limpet.cli.admin_client import AdminClient, FoundTarget

_POLL_S = 0.2


@click.command()
@click.argument("name")
@group_option
@click.option("--dry-run", is_flag=True, help="Change nothing; say what would happen.")
@click.option("--wait", is_flag=True, help="Return when nothing is in flight any more.")
@click.option(
    "--timeout",
    "timeout_s",
    type=click.FloatRange(min=0),
    metavar="SECONDS",
    help="How long to wait at most.",
)
@admin_option
def drain(
    client: AdminClient, name: str, group: str | None, dry_run: bool, wait: bool, timeout_s: float | None
) -> None:
    """Empty a target.

    It gets no request any more, and what is in flight finishes. Its sessions go on at other
    targets: where an app keeps logins in its own memory, their users have to log in again.

    Exit code 1 if --dry-run finds sessions pinned to it, or if --wait ends before the requests.
    """
    target = client.target(name, group)
    sessions = counted(target.facts["sessions"], "active session")
    requests = counted(target.facts["in_flight"], "request")
    if dry_run:
        click.echo(f"{name}: {sessions} would move; {requests} in flight")
        sys.exit(EXIT_FAILED if target.facts["sessions"] else 0)
    client.call("POST", f"{target.path}/drain")
    click.echo(f"{name}: draining; {sessions} to move, {requests} in flight")
    if wait:
        _wait(client, target, timeout_s)


def _wait(client: AdminClient, target: FoundTarget, timeout_s: float | None) -> None:
    name = target.facts["name"]
    began_s = time.monotonic()
    while (left := _requests_left(client, target)) is not None:
        if left and timeout_s is not None and time.monotonic() - began_s >= timeout_s:
            click.echo(f"{name}: {counted(left, 'request')} still in flight after {timeout_s:g} s")
            sys.exit(EXIT_FAILED)
        time.sleep(_POLL_S)
    click.echo(f"{name}: drained")


def _requests_left(client: AdminClient, target: FoundTarget) -> int | None:
    # None once it is gone, or was registered again meanwhile.
    for group in client.get("/status")["target_groups"]:
        for facts in group["targets"]:
            is_it = (group["name"], facts["name"]) == (target.group, target.facts["name"])
            if is_it and facts["health"] == "draining":
                return int(facts["in_flight"])
    return None

"""`limpet drain`: empty a target, and say first what that does to its users."""

from __future__ import annotations

import sys
import time
from typing import TYPE_CHECKING, Any

import click

from limpet.cli.admin_client import admin_option, group_option
from limpet.cli.output import EXIT_FAILED, counted

if TYPE_CHECKING:
    from limpet.cli.admin_client import AdminClient, FoundTarget

_POLL_S = 0.2
#: Users with one of these lose a connection, which opens again elsewhere, and no login.
_TUNNEL = "websocket"


@click.command()
@click.argument("name")
@group_option
@click.option("--dry-run", is_flag=True, help="Change nothing; say who would be logged out.")
@click.option(
    "--wait",
    is_flag=True,
    help="Let portable sessions go first, wait for the pinned ones, and return when nothing is in flight.",
)
@click.option(
    "--timeout",
    "timeout_s",
    type=click.FloatRange(min=0),
    metavar="SECONDS",
    help="With --wait: how long to wait at most; then the target is taken out all the same.",
)
@admin_option
def drain(
    client: AdminClient, name: str, group: str | None, dry_run: bool, wait: bool, timeout_s: float | None
) -> None:
    """Empty a target.

    Its portable sessions (all of whose state is in a store that other targets read too: limpet.sessions
    says so) go on elsewhere and nobody notices. Pinned ones lose what is in the target's memory: with
    --wait they are waited for.

    \b
    Exit codes, fit for a preStop hook:
      0  nobody would be logged out, or was
      1  somebody would be, or was when the time was over
    """  # noqa: D301  # click's mark for lines as they are
    target = client.target(name, group)
    if dry_run:
        click.echo(f"{name}: {_forecast(client, target)}")
        sys.exit(EXIT_FAILED if _lost(target.facts) else 0)
    ends_s = time.monotonic() + timeout_s if timeout_s is not None else None
    lost = _empty(client, target, ends_s) if wait else _lost(target.facts)
    client.call("POST", f"{target.path}/drain")
    if not wait:
        requests = counted(target.facts["in_flight"], "request")
        click.echo(f"{name}: draining; {_users(target.facts)} in now, {requests} in flight")
        return
    is_cut = not _wait_for_requests(client, target, ends_s)
    if lost:
        click.echo(f"{name}: {counted(lost, 'user')} of pinned sessions left when the time was over")
    sys.exit(EXIT_FAILED if lost or is_cut else 0)


def _forecast(client: AdminClient, target: FoundTarget) -> str:
    facts = target.facts
    parts = [f"{_lost(facts)} of {counted(facts['sessions'], 'user')} would be logged out now"]
    if facts["pinned"]:
        why = ", ".join(f"{number} {_words(word)}" for word, number in sorted(facts["pinned_by"].items()))
        parts.append(f"{facts['pinned']} pinned ({why}){_last_idle(client, target)}")
    parts.append(f"{counted(facts['in_flight'], 'request')} in flight")
    return "; ".join(parts)


def _words(why: str) -> str:
    return {_TUNNEL: "WebSocket", "memory": "in memory", "store": "store silent"}.get(why, why)


def _last_idle(client: AdminClient, target: FoundTarget) -> str:
    if not _lost(target.facts):
        return ""
    groups = client.get("/status")["target_groups"]
    window_s = next(group["active_window_s"] for group in groups if group["name"] == target.group)
    left_s = max(window_s - target.facts["last_pinned_idle_s"], 0)
    about = f"{left_s / 60:.0f} min" if left_s >= 60 else f"{left_s:.0f} s"
    return f", the last idle in about {about}"


def _users(facts: dict[str, Any]) -> str:
    pinned = f", {facts['pinned']} of them pinned" if facts["pinned"] else ""
    return f"{counted(facts['sessions'], 'user')}{pinned}"


def _lost(facts: dict[str, Any]) -> int:
    """Return how many users would lose their login."""
    return int(facts["pinned"]) - int(facts["pinned_by"].get(_TUNNEL, 0))


def _empty(client: AdminClient, target: FoundTarget, ends_s: float | None) -> int:
    # Returns how many users of pinned sessions are left.
    name = target.facts["name"]
    client.call("POST", f"{target.path}/leave")
    click.echo(f"{name}: gets no new session; {_users(target.facts)} in now")
    told = -1
    while (facts := _facts(client, target)) is not None:
        if facts["health"] in {"unhealthy", "draining"} or not facts["pinned"]:
            return 0 if not facts["pinned"] else _lost(facts)
        if ends_s is not None and time.monotonic() >= ends_s:
            return _lost(facts)
        if facts["pinned"] != told:
            told = facts["pinned"]
            click.echo(f"{name}: waiting for {counted(told, 'pinned session')}")
        time.sleep(_POLL_S)
    return 0


def _wait_for_requests(client: AdminClient, target: FoundTarget, ends_s: float | None) -> bool:
    # Returns whether all were answered in time.
    name = target.facts["name"]
    while (facts := _facts(client, target)) is not None and facts["health"] == "draining":
        if facts["in_flight"] and ends_s is not None and time.monotonic() >= ends_s:
            click.echo(
                f"{name}: {counted(facts['in_flight'], 'request')} still in flight when the time was over"
            )
            return False
        time.sleep(_POLL_S)
    click.echo(f"{name}: drained")
    return True


def _facts(client: AdminClient, target: FoundTarget) -> dict[str, Any] | None:
    # None once it is gone.
    for group in client.get("/status")["target_groups"]:
        for facts in group["targets"]:
            if (group["name"], facts["name"]) == (target.group, target.facts["name"]):
                return dict(facts)
    return None

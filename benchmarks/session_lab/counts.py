"""Round trips to the store and commands, for one request of each kind."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import redis

from session_lab.relay import Relay
from session_lab.views import BASELINE, KINDS
from session_lab.visitors import visitors

if TYPE_CHECKING:
    from collections.abc import Mapping

    from lab.tables import Row
    from session_lab.views import Kind
    from session_lab.visitors import Visitors

COLUMNS = (
    ("label", "request, sessions"),
    ("round_trips", "round trips"),
    ("sent", "commands sent"),
    ("executed", "executed"),
    ("what", "which were sent"),
)
_REQUESTS = 20
#: What this asks itself, and what a near-cache asks a few times a second to know that it hears everything.
_OURS = {"info", "config|resetstat", "role"}


def count(framework: str, port: int, kinds: list[str]) -> list[Row]:
    """Count under one framework; every row is the mean over some requests, so whole numbers mean: always."""
    relay = Relay(port)
    sites, by_name = visitors(framework, relay.port)
    with redis.Redis(port=port) as server:
        rows = [
            {"framework": framework, "label": f"{kind}, {name}"} | _counted(each, KINDS[kind], relay, server)
            for kind in kinds
            for name, each in by_name.items()
            if name != BASELINE
        ]
    for site in sites.values():
        site.close()
    relay.close()
    return rows


def _counted(each: Visitors, kind: Kind, relay: Relay, server: Any) -> Row:
    each.get(
        kind, each.ready(kind)
    )  # what was written before may have to be read anew by whoever keeps copies
    browsers = [each.ready(kind) for _ in range(_REQUESTS)]
    relay.reset()
    server.config_resetstat()
    for browser in browsers:
        each.get(kind, browser)
    return {
        "round_trips": _each(relay.round_trips),
        "sent": _each(relay.commands.total()),
        "executed": _each(_executed(server.info("commandstats"))),
        "what": ", ".join(_times(name, _each(number)) for name, number in sorted(relay.commands.items())),
    }


def _executed(stats: Mapping[str, Any]) -> int:
    # On the server, those inside of scripts included.
    names = {name: name.removeprefix("cmdstat_") for name in stats}
    return sum(stats[name]["calls"] for name, command in names.items() if command not in _OURS)


def _each(total: int) -> float | int:
    mean = total / _REQUESTS
    return int(mean) if mean == int(mean) else mean


def _times(name: str, number: float) -> str:
    return name if number == 1 else f"{number:g} {name}"

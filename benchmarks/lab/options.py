"""What a run of the benchmarks was asked for."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, kw_only=True)
class Options:
    """The options of the command line.

    Attributes:
        proxies: names, in the order in which they are measured.
        nginx: path of the nginx that is measured.
        rounds: how often each proxy has its turn.
        seconds: how long each turn is.
        idle_connections: how many connections are kept idle.
    """

    proxies: tuple[str, ...]
    nginx: str
    rounds: int
    seconds: int
    idle_connections: int

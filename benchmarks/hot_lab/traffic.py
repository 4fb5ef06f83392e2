"""What happens in a run, drawn beforehand from a seed: the same for every balancer.

Theory of operation. Time 0 is the crowd's arrival or the event. Before it, all users log in, as fast as the
targets that are up can bear, and browse calmly for some seconds. From 0 on, requests come at
60 % of the whole fleet's capacity at exponential gaps, whether or not earlier ones are answered; each is
of a user drawn by Zipf's law, so a few are very busy. Newcomers log in all the time. The first seconds
are for settling; what follows is counted in windows of ten seconds.
"""

from __future__ import annotations

from bisect import bisect_left
from dataclasses import dataclass
from enum import StrEnum
from itertools import accumulate
from random import Random
from typing import NamedTuple

TARGETS = "ABCDE"
#: One request in so many changes the session.
_WRITE_SHARE = 0.05
#: Newcomers for each request.
_NEWCOMER_SHARE = 2 / 300
WINDOW_S = 10.0


class Kind(StrEnum):
    """What a user does."""

    LOGIN = "login"
    READ = "read"
    WRITE = "write"


class Event(StrEnum):
    """What happens to the targets of a scenario."""

    UP = "up"
    KILL = "kill"
    DRAIN = "drain"


@dataclass(frozen=True)
class Scenario:
    """What happens to which targets.

    Attributes:
        about: for readers.
        first: targets that are up when the users log in.
        event: what happens,
        to: and to which of them.
        calm_event: it happens before the crowd comes: when the calm begins.
        members: targets that share the load in the end.
    """

    about: str
    first: str
    event: Event
    to: str
    members: str
    calm_event: bool = False


SCENARIOS = {
    "influx": Scenario("two take all logins, then three more come up", "AB", Event.UP, "CDE", TARGETS, True),
    "kill": Scenario("B is killed", TARGETS, Event.KILL, "B", "ACDE"),
    "added": Scenario("E comes up", "ABCD", Event.UP, "E", TARGETS),
    "drain": Scenario("B is drained, and stopped 10 s later", TARGETS, Event.DRAIN, "B", "ACDE"),
}


@dataclass(frozen=True, kw_only=True)
class Extent:
    """How much of everything.

    Attributes:
        users: who log in before it begins.
        skew: exponent of Zipf's law.
        service_s: what a target takes for a request.
        utilisation: load as a share of the capacity, of the fleet or, before the crowd, of those who are up.
        calm_s, settle_s, windows, window_s: how long each part is.
        seed: of all that is drawn.
    """

    users: int = 1000
    skew: float = 0.8
    service_s: float = 0.010
    utilisation: float = 0.6
    calm_s: float = 5.0
    settle_s: float = 20.0
    windows: int = 3
    window_s: float = WINDOW_S
    seed: int = 1

    @property
    def end_s(self) -> float:
        """When the traffic ends."""
        return self.settle_s + self.windows * self.window_s


class Action(NamedTuple):
    """One request that is due."""

    due_s: float
    user: int
    kind: Kind


def actions(scenario: Scenario, extent: Extent) -> list[Action]:
    """Draw all requests of a run, in the order in which they are due."""
    rng = Random(extent.seed)
    newcomers_per_s = _NEWCOMER_SHARE * extent.utilisation * len(TARGETS) / extent.service_s
    first_rate = extent.utilisation * len(scenario.first) / extent.service_s
    logins_s = extent.users / first_rate
    begin_s = -extent.calm_s - logins_s
    drawn = [Action(begin_s + i / first_rate, i, Kind.LOGIN) for i in range(extent.users)]
    came_s = [-extent.calm_s] * extent.users
    for due_s in _arrivals(rng, 0.0, extent.end_s, newcomers_per_s):
        drawn.append(Action(due_s, len(came_s), Kind.LOGIN))
        # Nobody has read the page after the login at once.
        came_s.append(due_s + 1.0)
    choose = _Zipf(len(came_s), extent.skew, rng)
    times = _arrivals(rng, -extent.calm_s, 0.0, first_rate)
    times += _arrivals(rng, 0.0, extent.end_s, extent.utilisation * len(TARGETS) / extent.service_s)
    for due_s in times:
        user = choose.one()
        while came_s[user] > due_s:
            user = choose.one()
        drawn.append(Action(due_s, user, Kind.WRITE if rng.random() < _WRITE_SHARE else Kind.READ))
    return sorted(drawn)


class _Zipf:
    # Draws users by Zipf's law, whose ranks have nothing to do with when they came.

    def __init__(self, users: int, skew: float, rng: Random) -> None:
        self._rng = rng
        weights = [1 / (rank + 1) ** skew for rank in range(users)]
        rng.shuffle(weights)
        self._bounds = list(accumulate(weights))

    def one(self) -> int:
        return bisect_left(self._bounds, self._rng.random() * self._bounds[-1])


def _arrivals(rng: Random, from_s: float, until_s: float, rate: float) -> list[float]:
    times = []
    due_s = from_s + rng.expovariate(rate)
    while due_s < until_s:
        times.append(due_s)
        due_s += rng.expovariate(rate)
    return times

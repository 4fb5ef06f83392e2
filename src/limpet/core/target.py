"""A target: what the configuration says of it, and what is known of it while it runs.

Theory of operation. `Target` is frozen and belongs to one configuration. `TargetState`
lives as long as the target's id is registered, so that a reload loses neither health
nor counters. Each of its fields has exactly one writer, named beside it; everybody may
read. All of it happens on one event loop, so no lock is needed.

With several workers each has a `TargetState` of its own. They share one number per worker and
target, the requests in flight: each writes its own place of a `row` and adds up all of it.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from math import inf
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from limpet.core.address import Address


class Health(StrEnum):
    """The state of a target, in the words of AWS.

    Source: https://docs.aws.amazon.com/elasticloadbalancing/latest/application/target-group-health-checks.html
    """

    INITIAL = "initial"  # registered, not checked yet
    HEALTHY = "healthy"
    UNHEALTHY = "unhealthy"
    UNUSED = "unused"  # not registered any more, or weightless backup; kept for the books
    DRAINING = "draining"  # deregistered; requests in flight may finish
    UNAVAILABLE = "unavailable"  # health checks are off: nothing is known, it takes requests
    MAINTENANCE = "maintenance"  # taken out by the operator; not an AWS word


#: States in which a target takes requests without fail-open.
SERVING = frozenset({Health.HEALTHY, Health.UNAVAILABLE})


@dataclass(frozen=True, slots=True, kw_only=True)
class Target:
    """What the configuration says of one target.

    Attributes:
        id: stable name, unique in its group; stands in tickets, logs and the admin API.
        address: where it is reached.
        weight: share of new sessions, 0 to 1000; 0 keeps its sessions and gets no new one.
        is_backup: gets requests only while no ordinary target can take any.
        is_in_maintenance: takes no request at all and is not checked.
        is_terminating: who discovered it says that it is about to go: it keeps its sessions, and
            gets no new one while anybody else can take it.
        host_name: DNS name that its address was found by; "" if it was given by address.
    """

    id: str
    address: Address
    weight: int = 1
    is_backup: bool = False
    is_in_maintenance: bool = False
    is_terminating: bool = False
    host_name: str = ""


class TargetState:
    """What is known of one target while it runs; survives reloads."""

    __slots__ = (
        "_place",
        "_row",
        "borrowed",
        "cap_here",
        "checked_fingerprint",
        "consecutive",
        "errors",
        "failures",
        "health",
        "health_detail",
        "in_flight",
        "lent",
        "queued",
        "ramp_started_s",
        "requests",
        "response_s",
        "seen_fingerprint",
        "sheds",
        "takes_sticky",
        "target",
        "unhealthy_since_s",
        "weight",
    )

    def __init__(self, target: Target) -> None:
        # written by control
        self.target = target
        self.health = Health.INITIAL
        self.health_detail = "not checked yet"
        self.consecutive = 0  # checks in a row that contradict `health`
        self.weight: float = target.weight  # effective: lower than target.weight during slow start
        self.ramp_started_s: float | None = None  # monotonic; None outside slow start
        self.unhealthy_since_s = 0.0  # monotonic
        self.takes_sticky = False  # whether a request pinned to it may be sent
        self.checked_fingerprint = ""  # what health checks were told; see `core.session_state`
        # written by the data plane
        self.in_flight = 0
        self.queued = 0
        self.requests = 0
        self.errors = 0  # attempts that ended without a response
        self.lent = 0  # requests of sessions at home here that another target served
        self.borrowed = 0  # requests served for sessions at home elsewhere
        self.seen_fingerprint = ""  # what responses have told
        self.response_s = 0.0  # mean time to the head of a response
        # set by relief: requests in flight from this worker above which it is relieved, and whether
        # sessions are to move
        self.cap_here = inf
        self.sheds = False
        # such attempts in a row; a response sets it to 0, and so does control when a target recovers
        self.failures = 0
        self._row: memoryview | None = None
        self._place = 0

    def share(self, row: memoryview, place: int) -> None:
        """Share the number of requests in flight with other workers.

        Args:
            row: one signed number of 8 bytes for each worker.
            place: of this one.
        """
        self._row, self._place = row, place
        row[place] = self.in_flight

    def begin(self) -> None:
        """Note a request that is in flight from now on."""
        self.in_flight += 1
        if self._row is not None:
            self._row[self._place] = self.in_flight

    def end(self) -> None:
        """Note that one is not in flight any more."""
        self.in_flight -= 1
        if self._row is not None:
            self._row[self._place] = self.in_flight

    @property
    def load(self) -> int:
        """Requests in flight from all workers."""
        return self.in_flight if self._row is None else sum(self._row)

    @property
    def fingerprint(self) -> str:
        """Of the store that it reads; "" if that is not known, or not for sure."""
        seen, checked = self.seen_fingerprint, self.checked_fingerprint
        return "" if seen and checked and seen != checked else seen or checked

    @property
    def is_shared(self) -> bool:
        """Whether other workers send requests to the target too."""
        return self._row is not None

    @property
    def id(self) -> str:
        """The stable name of the target."""
        return self.target.id

    def __repr__(self) -> str:
        """Return what a failing test needs to see."""
        return f"<{self.id} {self.health.value} weight={self.weight} in_flight={self.in_flight}>"

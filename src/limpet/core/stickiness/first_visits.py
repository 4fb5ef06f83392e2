"""Keeps the parallel first requests of one client together.

Theory of operation. A browser that has no ticket may open several connections and send a
request on each before the first answer arrives. Chosen one by one, they would go to
different targets and come back with different tickets, of which the last to arrive wins:
it may overwrite the ticket of the target where the user has just logged in. So requests
without a ticket that look alike (same client address, same headers that a browser repeats)
join the *visit* of the first one: they get the same target and the same ticket id.

A visit must not become stickiness by address, which herds whole offices and load tests onto
one target (lb.md P13, P19). So it is short and small: it ends `LINGER_S` after its last
answer for a browser, at once for other clients, and never takes more than `MAX_REQUESTS`
requests (a browser opens at most six connections to a host).

Several workers of one balancer tell each other of their visits (`OtherVisits`).

A target may stop serving in the middle of a visit. The requests left over are then placed by the
hash of the visit's ticket id (see `route`), as is the session whose late answer still names that
target: so they meet again without the visit's help.
"""

from __future__ import annotations

from collections import OrderedDict
from typing import TYPE_CHECKING, NamedTuple, Protocol

if TYPE_CHECKING:
    from collections.abc import Callable

    from limpet.core.clock import Now
    from limpet.core.request import RequestHead

#: How long after its last answer a browser's visit takes further requests: they were sent
#: before the browser had read that answer, so this covers a slow round trip.
LINGER_S = 0.5
#: Requests of one visit.
MAX_REQUESTS = 8
#: Visits remembered at a time; the oldest are forgotten first.
MAX_VISITS = 4096
#: An unanswered visit takes no further requests after this time.
MAX_AGE_S = 30.0


class Visit:
    """The first requests of one client, and where they go.

    Attributes:
        target_id: where they go; None until the first was routed, another once that stopped serving.
        ticket_id: 16 random bytes, the id of the ticket that all of them get.
        is_joined: another worker began it.
    """

    __slots__ = (
        "ended_s",
        "fingerprint",
        "in_flight",
        "is_joined",
        "requests",
        "started_s",
        "target_id",
        "ticket_id",
    )

    def __init__(self, fingerprint: bytes, ticket_id: bytes, started_s: float) -> None:
        self.fingerprint = fingerprint
        self.ticket_id = ticket_id
        self.started_s = started_s
        self.ended_s = started_s
        self.target_id: str | None = None
        self.in_flight = 0
        self.requests = 0
        self.is_joined = False


class OtherVisit(NamedTuple):
    """A visit that began elsewhere; the fields are those of `Visit`."""

    ticket_id: bytes
    target_id: str
    started_s: float
    ended_s: float
    in_flight: int


class OtherVisits(Protocol):
    """Visits that other workers of the same balancer have begun."""

    def find(self, fingerprint: bytes) -> OtherVisit | None:
        """Return the visit of a client."""
        ...

    def tell(self, visit: Visit) -> None:
        """Tell the others of a visit that began here, or where it goes now."""
        ...

    def tell_progress(self, visit: Visit) -> None:
        """Tell the others that a request of a visit has begun or ended."""
        ...


class FirstVisits:
    """The visits going on in one target group.

    Attributes:
        others: those of other workers; None if there are no others.
    """

    def __init__(self, entropy: Callable[[int], bytes]) -> None:
        self.others: OtherVisits | None = None
        self._entropy = entropy
        self._visits: OrderedDict[bytes, Visit] = OrderedDict()

    def enter(self, request: RequestHead, now: Now) -> Visit:
        """Return the visit that a ticketless request belongs to, a new one if need be."""
        fingerprint = _fingerprint(request)
        visit = self._visits.get(fingerprint)
        if visit is None or not _takes_more(visit, request, now.mono_s):
            visit = self._open(fingerprint, request, now.mono_s)
        visit.in_flight += 1
        visit.requests += 1
        if self.others is not None and not visit.is_joined and visit.requests > 1:
            self.others.tell_progress(visit)
        return visit

    def place(self, visit: Visit, target_id: str | None) -> None:
        """Note where a visit goes, now that its first request was routed."""
        visit.target_id = target_id
        if self.others is not None:
            self.others.tell(visit)

    def leave(self, visit: Visit, now: Now) -> None:
        """Note that one of the visit's requests has ended, answered or not."""
        visit.in_flight -= 1
        visit.ended_s = now.mono_s
        if self.others is not None and not visit.is_joined:
            self.others.tell_progress(visit)

    def _open(self, fingerprint: bytes, request: RequestHead, mono_s: float) -> Visit:
        self._visits.pop(fingerprint, None)  # so that the new one is the youngest
        if len(self._visits) >= MAX_VISITS:
            self._visits.popitem(last=False)
        visit = self._visits[fingerprint] = Visit(fingerprint, self._entropy(16), mono_s)
        other = self.others.find(fingerprint) if self.others is not None else None
        if other is not None and _goes_on(other, request, mono_s):
            visit.is_joined = True
            visit.ticket_id, visit.target_id = other.ticket_id, other.target_id
            visit.started_s = other.started_s
        return visit


def _takes_more(visit: Visit, request: RequestHead, mono_s: float) -> bool:
    return visit.requests < MAX_REQUESTS and _goes_on(visit, request, mono_s)


def _goes_on(visit: Visit | OtherVisit, request: RequestHead, mono_s: float) -> bool:
    if mono_s - visit.started_s > MAX_AGE_S:
        return False
    return visit.in_flight > 0 or (_is_browser(request) and mono_s - visit.ended_s < LINGER_S)


def _fingerprint(request: RequestHead) -> bytes:
    # What one browser repeats in every request of a page, whatever it asks for.
    parts = [request.client_ip.encode(), request.fields.host]
    parts += [request.header(name) or b"" for name in (b"user-agent", b"accept-language", b"sec-ch-ua")]
    return b"\0".join(parts)


def _is_browser(request: RequestHead) -> bool:
    return (request.header(b"user-agent") or b"").startswith(b"Mozilla/")

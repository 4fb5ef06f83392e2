"""Judges a recorded history of requests: what each must have seen, whatever happened meanwhile. No I/O.

Theory of operation. Every acknowledged write puts a mark of its own into its session, and adds one to a
number there, in the same commit. Marks are never taken away, so a session is a set that only grows, and its
history is judged without guessing an order of writes:

- *read your writes*: an answer has every mark whose write was acknowledged to the browser before the
  request was sent;
- *monotonic reads*: it has every mark that an answer before it had;
- *nothing lost*: such a mark that no later answer has is a lost write;
- *nothing from nowhere*: it has only marks whose write had been sent;
- *nothing torn or done twice*: the number is the number of marks.

Who logs in gets a *login* of his own. It is over with its logout or with a revocation:

- *no resurrection*: nobody is served as that login who comes later than the bound after the end was done, and
  nobody at all after a revocation that has waited;
- *nobody is logged out*: a browser that shows a login's cookie is served as that login, unless somebody has
  set out to end it, or no server that reads its store could be asked.

And of moves: none goes to a server of another store while one of the same can be asked; none is made for the
sake of balance of a session that is pinned, or while a server says that its store does not answer.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import Enum
from math import inf


class Violation(Enum):
    """What can be wrong with a history."""

    STALE_READ = "a browser did not read what it had written"
    BACKWARDS = "a browser read less than before"
    LOST_WRITE = "an acknowledged write is gone"
    PHANTOM = "a read shows what nobody has written"
    TORN = "a commit was done in part, or twice"
    RESURRECTED = "who was logged out or revoked is in"
    LOGGED_OUT = "who is logged in was served as somebody else"
    OTHER_STORE = "a session moved to a server of another store"
    PINNED_MOVED = "a pinned session moved"
    MOVED_IN_OUTAGE = "a session moved while the store was down"


@dataclass(frozen=True, slots=True, kw_only=True)
class Answer:
    """A request that was answered, and what it has seen.

    Attributes:
        sent_s, begun_s, left_s: when the browser sent it, a server began with it, and had its answer ready.
        arrived_s: when the browser had it; infinite if it never did.
        shown: the login whose cookie the browser sent; empty for none.
        login: as whom the server served it; empty for a visitor.
        marks, count: of that login's session, as the request has read them.
        mark: what it has added itself; 0 for nothing.
        is_excused: no server that reads the store of `shown` could be asked.
    """

    browser: str
    kind: str
    server: str
    sent_s: float
    begun_s: float
    left_s: float
    arrived_s: float
    shown: str = ""
    login: str = ""
    marks: frozenset[int] = frozenset()
    count: int = 0
    mark: int = 0
    is_excused: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class End:
    """The end of a login.

    Attributes:
        begun_s: from then on it may be over.
        done_s: from then on it is; infinite if nobody knows.
        has_waited: `done_s` is when a revocation that waits has returned.
    """

    login: str
    begun_s: float
    done_s: float = inf
    has_waited: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Move:
    """A request of a session that went elsewhere than home.

    Attributes:
        is_free: home could have served it.
        origin, goal: the stores of the two servers.
        has_equal: another server of the same store could have been asked.
        is_pinned: as far as its balancer had been told.
    """

    at_s: float
    balancer: str
    is_free: bool
    origin: str
    goal: str
    has_equal: bool = True
    is_pinned: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Outage:
    """A server has told a balancer that its store does not answer."""

    at_s: float
    balancer: str


@dataclass(slots=True, kw_only=True)
class History:
    """What happened.

    Attributes:
        bound_s: how long after its end a login may still be served.
        strict_bound_s: the same after a revocation that has waited.
        outage_s: for how long an outage holds sessions where they are.
        written: when the write of each mark was sent.
        has_two_stores: a mistake of the configuration. Then somebody who logs in where nobody of the right
            store could be asked may be sent back by a late answer, and is not known there: only the moves
            are judged.
    """

    bound_s: float = 1.0
    strict_bound_s: float = 0.0
    outage_s: float = 5.0
    answers: list[Answer] = field(default_factory=list)
    ends: list[End] = field(default_factory=list)
    moves: list[Move] = field(default_factory=list)
    outages: list[Outage] = field(default_factory=list)
    written: dict[int, float] = field(default_factory=dict)
    has_two_stores: bool = False


@dataclass(frozen=True, slots=True)
class Found:
    """A violation, and what shows it."""

    violation: Violation
    evidence: tuple[object, ...]


def check(history: History) -> list[Found]:
    """Return everything that is wrong with a history."""
    return [*_reads(history), *_logins(history), *_moves(history)]


def _reads(history: History) -> list[Found]:
    found = []
    by_login: dict[str, list[Answer]] = {}
    for answer in history.answers:
        if answer.login:
            by_login.setdefault(answer.login, []).append(answer)
    for login, answers in by_login.items():
        # What is written while the session is being ended goes with it; a copy may be served a moment longer.
        over_s = min((end.begun_s for end in history.ends if end.login == login), default=inf)
        for answer in answers:
            found += _alone(answer, history)
            for earlier in answers:
                if earlier.arrived_s <= answer.sent_s and earlier.left_s < over_s:
                    found += _pair(earlier, answer, answers)
    return found


def _alone(answer: Answer, history: History) -> list[Found]:
    found = []
    if answer.count != len(answer.marks):
        found.append(Found(Violation.TORN, (answer,)))
    if any(history.written.get(mark, inf) > answer.left_s for mark in answer.marks):
        found.append(Found(Violation.PHANTOM, (answer,)))
    return found


def _pair(earlier: Answer, answer: Answer, answers: list[Answer]) -> list[Found]:
    if earlier.mark and earlier.mark not in answer.marks:
        later = [each for each in answers if each.sent_s >= answer.sent_s]
        is_lost = not any(earlier.mark in each.marks for each in later)
        return [Found(Violation.LOST_WRITE if is_lost else Violation.STALE_READ, (earlier, answer))]
    if not earlier.marks <= answer.marks:
        return [Found(Violation.BACKWARDS, (earlier, answer))]
    return []


def _logins(history: History) -> list[Found]:
    found = []
    ends: dict[str, list[End]] = {}
    for end in history.ends:
        ends.setdefault(end.login, []).append(end)
    for answer in history.answers:
        for end in ends.get(answer.login, ()):
            bound_s = history.strict_bound_s if end.has_waited else history.bound_s
            if answer.begun_s > end.done_s + bound_s:
                found.append(Found(Violation.RESURRECTED, (end, answer)))
        if not answer.shown or answer.login == answer.shown or answer.is_excused or history.has_two_stores:
            continue
        if not any(end.begun_s <= answer.left_s for end in ends.get(answer.shown, ())):
            found.append(Found(Violation.LOGGED_OUT, (answer,)))
    return found


def _moves(history: History) -> list[Found]:
    found = []
    for move in history.moves:
        if move.origin != move.goal and (move.is_free or move.has_equal):
            found.append(Found(Violation.OTHER_STORE, (move,)))
        if not move.is_free:
            continue
        if move.is_pinned:
            found.append(Found(Violation.PINNED_MOVED, (move,)))
        told = [each for each in history.outages if each.balancer == move.balancer]
        if any(each.at_s <= move.at_s < each.at_s + history.outage_s for each in told):
            found.append(Found(Violation.MOVED_IN_OUTAGE, (move,)))
    return found

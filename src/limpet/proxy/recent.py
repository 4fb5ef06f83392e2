"""The last requests' decisions, for `limpet explain`."""

from __future__ import annotations

from collections import deque
from typing import TYPE_CHECKING

from limpet.core.stickiness.contract import StickyStatus
from limpet.proxy.access_log import describe
from limpet.proxy.http1.request import unreadable_request

if TYPE_CHECKING:
    from limpet.core.route import Decision
    from limpet.core.stickiness.ticket import Ticket
    from limpet.proxy.exchange import Exchange

NO_FIELDS = unreadable_request().fields
#: Sticky statuses of the daily run.
_ORDINARY = frozenset(
    {
        StickyStatus.OFF,
        StickyStatus.EXEMPT,
        StickyStatus.ABSENT,
        StickyStatus.BOUND,
        StickyStatus.JOINED,
        StickyStatus.LENT,
    }
)
#: Bytes of a request's path that are remembered.
_MAX_PATH_BYTES = 2048


class RecentExchanges:
    """A bounded memory of finished exchanges; the oldest are forgotten first."""

    def __init__(self, size: int = 1000) -> None:
        self._exchanges: deque[Exchange] = deque(maxlen=size)

    def add(self, exchanges: list[Exchange]) -> None:
        """Remember finished exchanges without their heads, which may be large and secret."""
        for exchange in exchanges:
            request = exchange.request
            request.fields = NO_FIELDS
            if len(request.path) > _MAX_PATH_BYTES:
                request.path = request.path[:_MAX_PATH_BYTES]
            del exchange.client  # its connection may be closed, and need not be remembered
        self._exchanges.extend(exchanges)

    def find(self, request_id: str) -> dict[str, object] | None:
        """Return what was decided for a request and why, as JSON-able values; the latest if several."""
        wanted = request_id.encode()
        for exchange in reversed(self._exchanges):
            if exchange.request_id == wanted:
                return explain(exchange)
        return None

    def latest(self, count: int) -> list[dict[str, object]]:
        """Return the last decisions, and as many of the last notable ones; newest first.

        Their paths come without the query, which may hold what not everybody who watches should see.
        """
        found: list[dict[str, object]] = []
        notable_left = count
        for place, exchange in enumerate(reversed(self._exchanges)):
            is_notable = _is_notable(exchange)
            if place < count or (is_notable and notable_left > 0):
                facts = describe(exchange)
                del facts["host"]  # it was forgotten with the head
                facts["path"] = str(facts["path"]).partition("?")[0]
                found.append({**facts, "is_notable": is_notable})
            notable_left -= is_notable
        return found


def _is_notable(exchange: Exchange) -> bool:
    # An operator would want to know of it: a failure, a retry, a session that did not simply stay.
    decision = exchange.decision
    is_ordinary = decision is None or decision.status in _ORDINARY
    return exchange.error is not None or bool(exchange.attempts) or exchange.status >= 500 or not is_ordinary


def explain(exchange: Exchange) -> dict[str, object]:
    """Return `describe` with the candidates, why each lost, and the ticket's story."""
    facts = describe(exchange)
    decision = exchange.decision
    if exchange.verdict is not None:
        facts["why_group"] = exchange.verdict.why or None
    if decision is not None:
        facts["stickiness"] = decision.group.stickiness.kind
        facts["algorithm"] = decision.group.policy.name
        facts["is_failing_open"] = decision.group.is_failing_open
        facts["is_lent"] = decision.is_lent
        facts["pinned_to"] = decision.finding.target_id
        facts["candidates"] = _candidates(exchange, decision)
        ticket = decision.finding.ticket
        facts["ticket"] = _ticket(ticket) if ticket is not None else None
    return facts


def _candidates(exchange: Exchange, decision: Decision) -> list[dict[str, object]]:
    # Targets the policy saw, then those it did not get to see.
    seen = {candidate.target_id: candidate for candidate in decision.candidates}
    failed = {attempt.target_id: attempt.error.label for attempt in exchange.attempts}
    rows: list[dict[str, object]] = []
    for state in decision.group.by_id.values():
        candidate = seen.get(state.id)
        is_chosen = decision.target is state
        if is_chosen:
            verdict = f"chosen: {decision.reason}"
        elif state.id in failed:
            verdict = f"tried before: {failed[state.id]}"
        elif candidate is not None:
            verdict = f"{decision.group.policy.name} preferred another"
        elif not decision.candidates and decision.target is not None:
            verdict = f"not asked: {decision.reason}"
        else:
            verdict = f"could not take a new session: {state.health.value}, weight {state.weight:g}"
        rows.append(
            {
                "target": state.id,
                "health": candidate.health.value if candidate is not None else state.health.value,
                "weight": candidate.weight if candidate is not None else state.weight,
                "in_flight": candidate.in_flight if candidate is not None else None,
                "is_chosen": is_chosen,
                "verdict": verdict,
            }
        )
    return rows


def _ticket(ticket: Ticket) -> dict[str, object]:
    # Its id stays out: with it, log lines of one user could be joined.
    return {
        "target": ticket.target_id,
        "group": ticket.group,
        "issued_at_s": ticket.issued_at_s,
        "last_seen_s": ticket.last_seen_s,
    }

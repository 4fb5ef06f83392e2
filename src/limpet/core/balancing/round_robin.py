"""Smooth weighted round robin: nginx's sequence, spread as evenly as the weights allow.

Every pick gives each target its weight, chooses the target with the highest balance (the first
of equals) and takes the sum of the weights from it: with weights 5, 1, 1 the sequence is
a a b a c a a, never five in a row. Trade-off: it counts requests, not how long they take.

Pinned requests take turns too (`charge`): they are noted, and settled at the next pick as if
the policy had chosen their target that often, so that new sessions go to the emptier targets.
Equal numbers of pinned requests cancel out; where nobody is charged, the sequence is nginx's.

A robot that pins a million requests to one target must not keep new sessions away from it for
the rest of the day. A round of a target is the time in which it gains one turn:

    debt     pinned requests put a target at most `MAX_DEBT_ROUNDS` rounds behind; what exceeds
             that is forgiven, at the cost of the targets in credit
    waiting  a target that had no new session for that many rounds is not charged until it has
             one: however busy its pinned clients are, it gets one in about twice as many rounds

The books hold the targets of the last pick, and their balances sum to zero: nobody can hoard
turns. A target that leaves takes its balance along; one that joins stands as if it had just had
its turn, so that a target which fails and is passed over for the rest of a request is not the
next one's first choice. When weights change, balances keep their worth in turns.

Source: nginx, ngx_http_upstream_get_peer; vectors recorded from nginx stand in tests/data.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Sequence
    from random import Random

    from limpet.core.balancing.policy import PolicySettings
    from limpet.core.clock import Now
    from limpet.core.request import RequestHead
    from limpet.core.target import TargetState

#: Rounds without new sessions that pinned requests may cost a target, before it must recover.
MAX_DEBT_ROUNDS = 8


class RoundRobin:
    """Smooth weighted round robin."""

    name = "round_robin"

    def __init__(self, settings: PolicySettings) -> None:
        del settings
        self._total: float = 0  # of the weights in the books; a turn is worth that much
        self._balances: dict[str, float] = {}
        self._charges: dict[str, int] = {}  # pinned requests since the last pick
        self._picks = 0
        self._picked_at: dict[str, int] = {}  # the value of `_picks` at a target's last turn

    def pick(
        self, targets: Sequence[TargetState], request: RequestHead, now: Now, rng: Random
    ) -> TargetState:
        """Choose the target whose turn it is; the first of equals, as nginx does."""
        del request, now, rng
        total = sum([target.weight for target in targets])
        if total != self._total or self._balances.keys() != {target.id for target in targets}:
            self._open_books(targets, total)
        if self._charges:
            self._settle(targets)
        balances = self._balances
        best = targets[0]
        highest = float("-inf")
        for target in targets:
            balance = balances[target.id] = balances[target.id] + target.weight
            if balance > highest:
                best, highest = target, balance
        balances[best.id] -= total
        self._picks += 1
        self._picked_at[best.id] = self._picks
        return best

    def charge(self, target: TargetState) -> None:
        """Note a pinned request."""
        charges = self._charges
        charges[target.id] = charges.get(target.id, 0) + 1

    def _open_books(self, targets: Sequence[TargetState], total: float) -> None:
        worth = total / self._total if self._total else 0
        balances = {t.id: self._balances[t.id] * worth for t in targets if t.id in self._balances}
        # Among strangers only, nobody is last in line.
        balances |= {t.id: t.weight - total if balances else 0 for t in targets if t.id not in balances}
        surplus = sum(balances.values())
        self._balances = {t.id: balances[t.id] - surplus * t.weight / total for t in targets}
        self._picked_at = {t.id: self._picked_at.get(t.id, self._picks) for t in targets}
        self._total = total

    def _settle(self, targets: Sequence[TargetState]) -> None:
        turns = {t.id: self._charges.get(t.id, 0) for t in targets if not self._has_waited(t)}
        self._charges.clear()
        all_turns = sum(turns.values())
        for target in targets:
            # Each turn gives every target its weight and takes the total from the one that had it.
            self._balances[target.id] += all_turns * target.weight - turns.get(target.id, 0) * self._total
        self._forgive(-MAX_DEBT_ROUNDS * self._total)

    def _has_waited(self, target: TargetState) -> bool:
        return (self._picks - self._picked_at[target.id]) * target.weight >= MAX_DEBT_ROUNDS * self._total

    def _forgive(self, floor: float) -> None:
        balances = self._balances
        too_low = {target_id: balance for target_id, balance in balances.items() if balance < floor}
        if not too_low:
            return
        # What debtors are forgiven, creditors lose in proportion; they have as much, for the sum is zero.
        forgiven = sum([floor - balance for balance in too_low.values()])
        credit = sum([balance for balance in balances.values() if balance > 0])
        for target_id, balance in balances.items():
            if balance > 0:
                balances[target_id] = balance * (1 - forgiven / credit)
        balances.update(dict.fromkeys(too_low, floor))

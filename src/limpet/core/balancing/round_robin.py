"""Smooth weighted round robin, the sequence of nginx, with sticky hits on its books.

Each target has a balance. A pick adds every target's weight to its balance, takes the one with
the highest, and subtracts the sum of the weights from it: with weights 5, 1, 1 the sequence is
a a b a c a a, never five in a row. Trade-off: it counts requests, not how long they take.

Requests that are pinned take their turns too (`charge`): they are noted and settled at the next
pick as if the policy had chosen their target, so that new sessions go to the emptier targets. A
target's debt is bounded by `MAX_DEBT_ROUNDS`: a robot that pins a million requests to one target
must not keep new sessions away from it for the rest of the day.

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

#: Rounds (picks per target, as it were) that a target may be in debt for pinned requests.
MAX_DEBT_ROUNDS = 8


class RoundRobin:
    """Smooth weighted round robin."""

    name = "round_robin"

    def __init__(self, settings: PolicySettings) -> None:
        del settings
        self._balances: dict[str, float] = {}
        self._charges: dict[str, int] = {}

    def pick(
        self, targets: Sequence[TargetState], request: RequestHead, now: Now, rng: Random
    ) -> TargetState:
        """Choose the target whose turn it is; the first of equals, as nginx does."""
        del request, now, rng
        balances = self._forget_absent(targets)
        total = sum([target.weight for target in targets])
        if self._charges:
            self._settle(targets, total)
        best = targets[0]
        highest = float("-inf")
        for target in targets:
            balance = balances[target.id] = balances.get(target.id, 0) + target.weight
            if balance > highest:
                best, highest = target, balance
        balances[best.id] -= total
        return best

    def charge(self, target: TargetState) -> None:
        """Note a pinned request."""
        charges = self._charges
        charges[target.id] = charges.get(target.id, 0) + 1

    def _forget_absent(self, targets: Sequence[TargetState]) -> dict[str, float]:
        # A target that was away must come back without the turns it could not take.
        balances = self._balances
        if len(balances) > len(targets) or any([target.id not in balances for target in targets]):
            kept = {target.id: balances[target.id] for target in targets if target.id in balances}
            balances = self._balances = kept
        return balances

    def _settle(self, targets: Sequence[TargetState], total: float) -> None:
        balances = self._balances
        floor = -MAX_DEBT_ROUNDS * total
        for target in targets:
            count = self._charges.get(target.id, 0)
            # Each turn takes `total` from the target and gives every target its weight.
            room = balances.get(target.id, 0) - floor
            turns = min(count, max(int(room // total), 0))
            if turns:
                balances[target.id] = balances.get(target.id, 0) - turns * total
                for other in targets:
                    balances[other.id] = balances.get(other.id, 0) + turns * other.weight
        self._charges.clear()

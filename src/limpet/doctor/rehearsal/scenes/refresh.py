"""Any replica may answer: reload the page without stickiness, and see who knows the session.

Browsers that obey what is set, and cookies that stay as they were at login, for several logins; then
logins of which each step may meet another replica.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from limpet.doctor.evidence import ArmKind, Trial, TrialKind
from limpet.doctor.signs import GREW

if TYPE_CHECKING:
    from limpet.doctor.rehearsal.rehearsal import Rehearsal
    from limpet.doctor.rehearsal.stage import Facts

#: Visits of each session: enough to meet every replica several times, and for the checks' statistics.
_VISITS = 15
_LOGINS_ANYWHERE = 2


async def play(rehearsal: Rehearsal) -> None:
    """Reload without stickiness."""
    stage = rehearsal.stage
    count = max(_VISITS, 2 * len(stage.first))
    await stage.use(stickiness="lb_cookie")
    before = {name: await stage.facts(name) for name in stage.first}
    sessions = [await rehearsal.log_in()]
    after = {name: await stage.facts(name) for name in stage.first}
    rehearsal.grown = _grown(before, after, sessions[0].home)
    rehearsal.facts[GREW] = ", ".join(rehearsal.grown)
    sessions += [await rehearsal.log_in(), await rehearsal.log_in()]
    await stage.use()
    arms = [
        await rehearsal.row(ArmKind.JAR, sessions[0], count),
        await rehearsal.row(ArmKind.FROZEN, sessions[1], count),
        await rehearsal.row(ArmKind.FROZEN, sessions[2], count),
        await rehearsal.row(ArmKind.NONE, None, len(stage.first)),
    ]
    rehearsal.is_shared = not any(arm.outs for arm in arms[:3])
    if rehearsal.is_shared:
        arms.append(await rehearsal.row(ArmKind.OTHER_AGENT, sessions[1], len(stage.first)))
    rehearsal.arms += arms
    rehearsal.trials.append(Trial(kind=TrialKind.ROUND_ROBIN, before=arms[0], after=arms[1]))
    for _ in range(_LOGINS_ANYWHERE):
        await rehearsal.log_in()


def _grown(before: dict[str, Facts], after: dict[str, Facts], home: str) -> tuple[str, ...]:
    # What one login adds to the memory of its replica, and of no other.
    if home not in before:
        return ()

    def growth(name: str, place: str) -> int:
        return after[name].containers.get(place, 0) - before[name].containers.get(place, 0)

    return tuple(
        place
        for place in after[home].containers
        if growth(home, place) > 0 and all(growth(name, place) <= 0 for name in before if name != home)
    )

"""Any replica may answer: reload the page without stickiness, and see who knows the session.

Browsers that obey what is set, and cookies that stay as they were at login, for several logins; then
logins of which each step may meet another replica. Every row has a login of its own, made just before
it with a sticky balancer, so that it is good on one replica at least.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from limpet.doctor.evidence import ArmKind, Outcome, Pattern, Trial, TrialKind
from limpet.doctor.signs import GREW

if TYPE_CHECKING:
    from limpet.doctor.evidence import Arm
    from limpet.doctor.rehearsal.rehearsal import Rehearsal, Session
    from limpet.doctor.rehearsal.stage import Facts

#: Visits of each session: enough to meet every replica several times, and for the checks' statistics.
_VISITS = 15
_LOGINS_ANYWHERE = 2


async def play(rehearsal: Rehearsal) -> None:
    """Reload without stickiness."""
    stage = rehearsal.stage
    before = {name: await stage.facts(name) for name in stage.first}
    session = await _begin(rehearsal)
    after = {name: await stage.facts(name) for name in stage.first}
    rehearsal.grown = _grown(before, after, session.home)
    rehearsal.facts[GREW] = ", ".join(rehearsal.grown)
    count = max(_VISITS, 2 * len(stage.first))
    jar = await rehearsal.row(ArmKind.JAR, session, count)
    frozen = []
    for _ in range(2):
        session = await _begin(rehearsal)
        frozen.append(await rehearsal.row(ArmKind.FROZEN, session, count))
    rehearsal.is_shared = jar.pattern is Pattern.OK
    rehearsal.rotating = _rotating(jar, rehearsal.auth) if rehearsal.is_shared else ()
    if rehearsal.rotating and any(arm.outs for arm in frozen):
        frozen = []  # the old value has to end: that is what a rotation is for
    else:
        rehearsal.rotating = ()
    rehearsal.arms += [jar, *frozen, await rehearsal.row(ArmKind.NONE, None, len(stage.first))]
    if frozen and rehearsal.is_shared:
        rehearsal.arms.append(await rehearsal.row(ArmKind.OTHER_AGENT, session, len(stage.first)))
    rehearsal.trials.append(Trial(kind=TrialKind.ROUND_ROBIN, after=jar))
    for _ in range(_LOGINS_ANYWHERE):
        await rehearsal.log_in()


async def _begin(rehearsal: Rehearsal) -> Session:
    await rehearsal.stage.use(stickiness="lb_cookie")
    session = await rehearsal.log_in()
    await rehearsal.stage.use()
    return session


def _rotating(jar: Arm, auth: tuple[str, ...]) -> tuple[str, ...]:
    # Cookies of the login that a browser got anew while it was in.
    kept = [visit for visit in jar.visits if visit.outcome is Outcome.IN]
    values = {name: {fact.digest for visit in kept if (fact := visit.cookie(name))} for name in auth}
    return tuple(name for name, digests in values.items() if len(digests) > 1)


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

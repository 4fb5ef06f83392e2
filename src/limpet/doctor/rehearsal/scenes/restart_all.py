"""Every replica is restarted, as by a deployment: whoever was in shall be in."""

from __future__ import annotations

from typing import TYPE_CHECKING

from limpet.doctor.checks.a4_secret_per_deploy import CHANGED
from limpet.doctor.checks.a31_name_of_release import RENAMED
from limpet.doctor.evidence import ArmKind, Trial, TrialKind

if TYPE_CHECKING:
    from limpet.doctor.rehearsal.rehearsal import Rehearsal


async def play(rehearsal: Rehearsal) -> None:
    """Restart all, and log in anew."""
    stage = rehearsal.stage
    await stage.use(stickiness=rehearsal.calm)
    session = await rehearsal.log_in()
    names = tuple(fact.name for fact in rehearsal.logins[-1].cookies)
    before = await rehearsal.row(ArmKind.JAR, session, 2)
    secrets = {name: (await stage.facts(name)).secrets for name in stage.first}
    await stage.restart(*stage.first)
    changed = {
        place
        for name in stage.first
        for place, digest in (await stage.facts(name)).secrets.items()
        if secrets[name].get(place) != digest
    }
    after = await rehearsal.row(ArmKind.JAR, session, 2 * len(stage.first))
    again = await rehearsal.log_in()
    fresh = await rehearsal.row(ArmKind.JAR, again, 2)
    rehearsal.facts[CHANGED] = ", ".join(sorted(changed))
    renamed = set(names) - {fact.name for fact in rehearsal.logins[-1].cookies}
    rehearsal.facts[RENAMED] = ", ".join(sorted(renamed))
    rehearsal.trials.append(Trial(kind=TrialKind.RESTART_ALL, before=before, after=after, fresh=fresh))

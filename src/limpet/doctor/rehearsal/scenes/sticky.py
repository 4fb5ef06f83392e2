"""With a sticky balancer: whatever an app keeps on one server, its users should not notice."""

from __future__ import annotations

from typing import TYPE_CHECKING

from limpet.doctor.evidence import ArmKind, Trial, TrialKind

if TYPE_CHECKING:
    from limpet.doctor.rehearsal.rehearsal import Rehearsal


async def play(rehearsal: Rehearsal) -> None:
    """Reload with stickiness."""
    await rehearsal.stage.use(stickiness="lb_cookie")
    session = await rehearsal.log_in()
    after = await rehearsal.row(ArmKind.JAR, session, 2 * len(rehearsal.stage.first))
    rehearsal.trials.append(Trial(kind=TrialKind.STICKY, after=after))

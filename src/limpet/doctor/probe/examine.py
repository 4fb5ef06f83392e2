"""A whole run, from the first look to the evidence."""

from __future__ import annotations

from typing import TYPE_CHECKING

from limpet.doctor.probe.phases.anonymous import anonymous
from limpet.doctor.probe.phases.arms import arms
from limpet.doctor.probe.phases.burst import burst
from limpet.doctor.probe.phases.idle import idle
from limpet.doctor.probe.phases.passive import passive
from limpet.doctor.probe.phases.preflight import preflight
from limpet.doctor.probe.phases.watch import watch
from limpet.doctor.probe.record import Record
from limpet.doctor.probe.run import Run
from limpet.doctor.probe.safety import ForbiddenError, StoppedError

if TYPE_CHECKING:
    from collections.abc import Callable

    from limpet.doctor.evidence import Evidence
    from limpet.doctor.probe.client import Client
    from limpet.doctor.probe.observe import Observer
    from limpet.doctor.probe.plan import Plan

_PHASES = (preflight, passive, anonymous, arms, burst, idle, watch)


async def examine(
    plan: Plan,
    client: Client,
    observer: Observer,
    *,
    tell: Callable[[str], None] = lambda _phase: None,
) -> Evidence:
    """Ask the site, phase by phase; what was learnt before a stop is evidence too.

    Args:
        tell: says what is being done.

    Raises:
        UnreachableError: nobody answers.
        LoginError: the login cannot be tried as it was described.
    """
    record = Record(plan.url)
    run = Run(plan, client, observer, record, tell)
    try:
        for phase in _PHASES:
            await phase(run)
    except StoppedError as error:
        record.stopped = str(error)
    except ForbiddenError as error:
        record.stopped = f"a request was not sent: {error}"
    return record.evidence(used=client.used, budget=client.limits.requests)

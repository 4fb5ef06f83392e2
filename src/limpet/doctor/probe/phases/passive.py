"""Phase 1: one visit without cookies, and two pages that it links to."""

from __future__ import annotations

from typing import TYPE_CHECKING

from limpet.doctor.probe.page import linked_paths
from limpet.doctor.probe.safety import ForbiddenError, StoppedError, is_forbidden_path

if TYPE_CHECKING:
    from limpet.doctor.probe.run import Run

_LINKED = 2


class UnreachableError(Exception):
    """The site does not answer at all."""


async def passive(run: Run) -> None:
    """Read the page.

    Raises:
        UnreachableError: nobody answers.
    """
    run.tell("reading the page")
    reply, visit = await run.newcomer().go(run.url)
    if not visit.status:
        raise UnreachableError(f"{run.url} does not answer: {visit.failure}")
    run.record.first = visit
    run.record.anonymous.append(visit)
    run.record.tested.add("passive")
    for url in [each for each in linked_paths(reply) if not is_forbidden_path(each)][:_LINKED]:
        try:
            run.record.aside.append((await run.newcomer().go(url))[1])
        except ForbiddenError:
            continue
        except StoppedError:
            raise

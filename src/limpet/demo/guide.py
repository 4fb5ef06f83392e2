"""Walks through the story's steps on a stage."""

from __future__ import annotations

import asyncio
import contextlib
from typing import TYPE_CHECKING

from limpet.demo.crowd import ARRIVAL_S, INFLUX_S
from limpet.demo.stage import NotNowError
from limpet.demo.story import STEPS

if TYPE_CHECKING:
    from limpet.demo.stage import Stage
    from limpet.demo.story import Step

#: Between a crowd and what comes next, so that both can be seen.
_BETWEEN_S = INFLUX_S + 4.0


class Guide:
    """Where the guide is; the stage can be played with beside it.

    Attributes:
        index: of the step.
    """

    def __init__(self, stage: Stage) -> None:
        self.index = 0
        self._stage = stage
        self._events: asyncio.Task[None] | None = None

    async def go(self, index: int) -> None:
        """Go to a step and let happen what it shows."""
        self.stop()
        self.index = index
        step = STEPS[index]
        has_begun = step.is_fresh or self._stage.act.mode.name != step.mode
        if has_begun or (step.events and self._stage.why_not(step.events[0])):
            await self._stage.begin(step.mode)
            has_begun = True
        if step.events:
            self._events = asyncio.create_task(self._play(step, ARRIVAL_S + 1 if has_begun else 0))

    def follow(self, mode: str) -> None:
        """Go along with somebody who chose a mode: to the step that explains it."""
        self.stop()
        explained = STEPS[self.index].mode
        if mode != explained:
            # The other kind of cookie has the same story.
            like = mode if any(step.mode == mode for step in STEPS) else "lb_cookie"
            self.index = next(index for index, step in enumerate(STEPS) if step.mode == like)

    def stop(self) -> None:
        """Do not go on with what a step has begun."""
        if self._events is not None:
            self._events.cancel()
            self._events = None

    async def _play(self, step: Step, delay_s: float) -> None:
        for event in step.events:
            await asyncio.sleep(delay_s)
            with contextlib.suppress(NotNowError):
                await getattr(self._stage, event)()
            delay_s = _BETWEEN_S

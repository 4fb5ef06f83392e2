"""The feed: what the dashboard and `limpet top` show, once a second, to all of their watchers.

Theory of operation. While somebody watches, a task looks at the balancer once a second and makes
one *frame* of it; every watcher is sent that frame. A watcher that reads slowly misses frames and
none is kept for it. When the last watcher goes the task ends, so that a dashboard nobody has open
costs nothing. With one worker the task shares its event loop with requests: the pause between two frames
grows with what a frame costs, so that all watching together takes a fiftieth of the time at most.
"""

from __future__ import annotations

import asyncio
import json
import time
from collections import deque
from typing import TYPE_CHECKING, Any

from limpet.control.dashboard.rates import Look, look, rates, sticky_counts
from limpet.control.supervise import supervise

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Awaitable, Callable, Mapping

    from limpet.control.balancer import Balancer
    from limpet.proxy.counters import Outcome

_PAUSE_S = 1.0
_MAX_SHARE = 0.02
#: So often a watcher hears that the feed lives, if frames are rarer.
_ALIVE_S = 4.0
#: Rates are over so many seconds.
_WINDOW_S = 5.0
#: Recent decisions in a frame, and as many of those that are out of the ordinary.
_RECENT = 15
MAX_WATCHERS = 50


class Feed:
    """See the module.

    Args:
        status: tells what `GET /status` answers, of what became of requests.
        facts: what else every frame says.

    Attributes:
        watchers: how many there are.
        frames_made: since the start.
    """

    def __init__(
        self,
        balancer: Balancer,
        status: Callable[[Mapping[Outcome, list[float]]], Awaitable[dict[str, Any]]],
        on_message: Callable[[str], None],
        **facts: object,
    ) -> None:
        self.watchers = 0
        self.frames_made = 0
        self._balancer = balancer
        self._status = status
        self._on_message = on_message
        self._facts = facts
        self._looks: deque[Look] = deque()
        self._latest: bytes | None = None
        self._changed = asyncio.Event()
        self._task: asyncio.Task[None] | None = None
        self._has_ended = False

    @property
    def is_full(self) -> bool:
        """Whether no other watcher is welcome."""
        return self.watchers >= MAX_WATCHERS

    async def watch(self) -> AsyncIterator[bytes]:
        """Give every frame from now on, as a server-sent event, until the feed ends."""
        self.watchers += 1
        if self._task is None:
            self._task = asyncio.create_task(supervise(self._make_frames, self._on_message))
        try:
            if self._latest is not None:
                yield self._latest
            while not self._has_ended:
                if not await self._is_new():
                    yield b": the next frame takes longer\n\n"
                elif self._latest is not None:
                    yield self._latest
        finally:
            self.watchers -= 1
            if not self.watchers:
                self._pause()

    def end(self) -> None:
        """Let every watcher go."""
        self._has_ended = True
        self._pause()
        self._changed.set()

    async def _is_new(self) -> bool:
        try:
            async with asyncio.timeout(_ALIVE_S):
                await self._changed.wait()
        except TimeoutError:
            return False
        return True

    def _pause(self) -> None:
        if self._task is not None:
            self._task.cancel()
            self._task = None
        self._latest = None
        self._looks.clear()

    async def _make_frames(self) -> None:
        while True:
            began_s, used_s = time.monotonic(), time.thread_time()
            frame = await self._frame(began_s)
            self._latest = b"data: " + json.dumps(frame).encode() + b"\n\n"
            self.frames_made += 1
            changed, self._changed = self._changed, asyncio.Event()
            changed.set()
            used_s = time.thread_time() - used_s
            await asyncio.sleep(max(began_s + _PAUSE_S - time.monotonic(), used_s / _MAX_SHARE))

    async def _frame(self, now_s: float) -> dict[str, Any]:
        plane = self._balancer.plane
        rows, recent = await asyncio.gather(plane.outcomes(), plane.recent(_RECENT))
        status = await self._status(rows)
        looks = self._looks
        looks.append(look(now_s, status["requests"], rows))
        while len(looks) > 2 and now_s - looks[1].at_s >= _WINDOW_S:
            looks.popleft()
        return {
            "time_s": round(time.time(), 3),
            **self._facts,
            "rates": rates(looks[0], looks[-1]) if len(looks) > 1 else None,
            "sticky": sticky_counts(rows),
            "recent": recent,
            "status": status,
        }

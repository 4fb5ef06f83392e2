"""The state, computed twice a second for all who watch, and at once after each action."""

from __future__ import annotations

import asyncio
import json
from typing import TYPE_CHECKING, Any

from limpet.demo.view import view

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from limpet.demo.guide import Guide
    from limpet.demo.stage import Stage

_EVERY_S = 0.5


class Feed:
    """Server-sent events; nothing is computed while nobody watches."""

    def __init__(self, stage: Stage, guide: Guide) -> None:
        self._stage = stage
        self._guide = guide
        self._watchers: set[asyncio.Queue[bytes | None]] = set()
        self._task: asyncio.Task[None] | None = None
        self._is_closed = False

    async def watch(self) -> AsyncIterator[bytes]:
        """Return the events for one who watches, beginning now."""
        if self._is_closed:
            return
        queue: asyncio.Queue[bytes | None] = asyncio.Queue(maxsize=4)
        self._watchers.add(queue)
        if self._task is None:
            self._task = asyncio.create_task(self._tell_on())
        try:
            yield self._event()
            while (event := await queue.get()) is not None:
                yield event
        finally:
            self._watchers.discard(queue)
            if not self._watchers and self._task is not None:
                self._task.cancel()
                self._task = None

    def tell(self) -> None:
        """Tell all who watch how things are; one who reads too slowly misses some."""
        if not self._watchers:
            return
        event = self._event()
        for queue in self._watchers:
            if not queue.full():
                queue.put_nowait(event)

    def state(self) -> dict[str, Any]:
        """Return how things are."""
        return view(self._stage, self._guide)

    async def close(self) -> None:
        """Let all who watch go."""
        self._is_closed = True
        for queue in self._watchers:
            while queue.full():
                queue.get_nowait()
            queue.put_nowait(None)

    async def _tell_on(self) -> None:
        while True:
            await asyncio.sleep(_EVERY_S)
            self.tell()

    def _event(self) -> bytes:
        return b"data: %b\n\n" % json.dumps(self.state(), separators=(",", ":")).encode()

"""Accepts connections from a socket that several workers share, each about as many as the others.

Theory of operation. The kernel wakes whoever is quick, which is whoever is idle in this
microsecond: left alone, one worker of two may end up with all connections that are kept
open. So a worker that is ahead of the others looks away for a moment and lets them. It does
so for a few moments only, and only for workers that show signs of life: nobody waits for long
because another worker is slow, and not at all because one has died.
"""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import asyncio
    import socket
    from collections.abc import Callable

    from limpet.proxy.board import Place

_PAUSE_S = 0.002
_MAX_PAUSES = 10
_EXHAUSTED_S = 0.1


class Acceptor:
    """Accepts from one listening socket, which it owns.

    Args:
        connection: makes the protocol of a new connection.
    """

    def __init__(
        self,
        loop: asyncio.AbstractEventLoop,
        listening: socket.socket,
        connection: Callable[[], asyncio.Protocol],
        place: Place,
    ) -> None:
        self._loop = loop
        self._listening = listening
        self._connection = connection
        self._place = place
        self._pauses = 0
        self._timer: asyncio.TimerHandle | None = None
        self._tasks: set[asyncio.Task[object]] = set()
        loop.add_reader(listening, self._ready)

    def close(self) -> None:
        """Accept no more; what waits in the socket is for others."""
        if self._timer is not None:
            self._timer.cancel()
        self._loop.remove_reader(self._listening)
        self._listening.close()

    def _ready(self) -> None:
        if self._pauses < _MAX_PAUSES and self._place.is_ahead(time.monotonic()):
            self._pauses += 1
            self._look_away(_PAUSE_S)
            return
        self._pauses = 0
        try:
            accepted, _ = self._listening.accept()
        except (BlockingIOError, ConnectionAbortedError):  # another worker was quicker, or the client left
            return
        except OSError:  # too many open files: asking again at once would not help
            self._look_away(_EXHAUSTED_S)
            return
        self._place.accepted()
        accepted.setblocking(False)
        task = self._loop.create_task(self._connect(accepted))
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    def _look_away(self, pause_s: float) -> None:
        self._loop.remove_reader(self._listening)
        self._timer = self._loop.call_later(pause_s, self._resume)

    def _resume(self) -> None:
        self._timer = None
        self._loop.add_reader(self._listening, self._ready)

    async def _connect(self, accepted: socket.socket) -> None:
        try:
            await self._loop.connect_accepted_socket(self._connection, accepted)
        except OSError:  # the client is gone already
            accepted.close()

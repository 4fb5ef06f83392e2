"""A worker process: a data plane of its own that does what control says.

Started by `workers`. It takes no signals: control has them, and tells it. When control
is gone, it lets its requests finish for a moment and ends.
"""

from __future__ import annotations

import asyncio
import gc
import os
import signal
import socket
import sys
import time
from collections import deque
from typing import TYPE_CHECKING, Any

import uvloop

from limpet.control.plane.channel import Channel
from limpet.control.plane.copying import Mirror
from limpet.control.plane.local import LocalPlane
from limpet.proxy.board import Board, Place

if TYPE_CHECKING:
    from collections.abc import Mapping

    from limpet.config.schema import AccessLogSettings, TracingSettings
    from limpet.control.plane.contract import HandshakeTotals
    from limpet.core.active_sessions import Residence
    from limpet.core.address import Address
    from limpet.core.model import Listener, TargetGroup
    from limpet.core.target import TargetState
    from limpet.errors import ErrorKind
    from limpet.proxy.counters import Outcome

#: How long requests may go on once control is gone.
_ORPHANED_S = 5.0
#: How much of what was counted may be lost with a worker.
_TELL_S = 1.0


def main(number: int, workers: int, channel: int, board: int) -> None:
    """Run a worker.

    Args:
        number: from 0.
        workers: how many there are.
        channel, board: file descriptors.
    """
    for ignored in (signal.SIGINT, signal.SIGHUP, signal.SIGUSR1, signal.SIGUSR2):
        signal.signal(ignored, signal.SIG_IGN)
    uvloop.run(_run(Place(Board(board, workers), number), socket.socket(fileno=channel)))


async def _run(place: Place, end: socket.socket) -> None:
    worker = _Worker(place, end)
    gc.collect()
    gc.freeze()
    gc.set_threshold(50_000, 20, 50)
    await worker.ended.wait()


class _Worker:
    """Carries out messages `(id, name, arguments)`; those with an id get `("reply", id, answer)`."""

    def __init__(self, place: Place, end: socket.socket) -> None:
        self.ended = asyncio.Event()
        self._cutting = asyncio.Event()
        self._loop = asyncio.get_running_loop()
        self._plane = LocalPlane(self._target_error, place)
        self._mirror = Mirror(place)
        self._plane.proxy.write_numbers()  # or the others would not wait for it yet
        # One after the other, in the order in which they were sent.
        self._wanted: asyncio.Queue[tuple[int | None, str, tuple[Any, ...]]] = asyncio.Queue()
        self._descriptors: deque[int] = deque()
        self._channel = Channel(self._loop, end, self._take, self._orphaned)
        self._work = self._loop.create_task(self._carry_out())
        self._channel.send(("ready", os.getpid()))
        self._told_requests = 0
        self._loop.call_later(_TELL_S, self._tell_outcomes)

    def _tell_outcomes(self) -> None:
        # Without being asked: what a worker has counted must not be lost with it.
        proxy = self._plane.proxy
        if proxy.requests != self._told_requests:
            self._told_requests = proxy.requests
            proxy.settle()
            self._channel.send(("outcomes", proxy.counters.rows))
        self._loop.call_later(_TELL_S, self._tell_outcomes)

    def _take(self, message: tuple[int | None, str, tuple[Any, ...]], descriptors: deque[int]) -> None:
        number, name, arguments = message
        if name == "cut":
            self._cutting.set()
        elif name == "open":
            bound, listener, count = arguments
            arguments = bound, listener, [descriptors.popleft() for _ in range(count)]
            self._wanted.put_nowait((number, name, arguments))
        else:
            self._wanted.put_nowait(message)

    async def _carry_out(self) -> None:
        while not self.ended.is_set():
            number, name, arguments = await self._wanted.get()
            try:
                answer = await getattr(self, f"_do_{name}")(*arguments)
            except Exception as error:  # noqa: BLE001  # control is told, and the worker goes on
                self._channel.send(("failed", number, f"{name}: {error!r}"))
            else:
                if number is not None:
                    self._channel.send(("reply", number, answer))
                if name == "drain":
                    self.ended.set()

    async def _do_use(self, data: bytes) -> None:
        self._plane.use(self._mirror.unpack(data), {})

    async def _do_open(self, bound: Address, listener: Listener, descriptors: list[int]) -> None:
        sockets = [socket.socket(fileno=each) for each in descriptors]
        try:
            await self._plane.open(bound, listener, sockets)
        finally:
            for each in sockets:
                each.close()

    async def _do_relisten(self, bound: Address, listener: Listener) -> None:
        self._plane.relisten(bound, listener)

    async def _do_close(self, bound: Address) -> None:
        self._plane.close(bound)

    async def _do_forget(self, slot: int) -> None:
        state = self._mirror.forget(slot)
        if state is not None:
            self._plane.forget(state)

    async def _do_use_log(self, settings: AccessLogSettings) -> None:
        self._plane.use_log(settings)

    async def _do_use_tracing(self, settings: TracingSettings) -> None:
        self._plane.use_tracing(settings)

    async def _do_reopen_log(self) -> None:
        self._plane.reopen_log()

    async def _do_active_sessions(self) -> dict[str, tuple[dict[bytes, Residence], bool]]:
        self._plane.proxy.write_numbers()  # who asks will look at the board next
        groups, now_s = self._plane.proxy.snapshot.groups, time.monotonic()
        return {
            name: (group.sessions.residences(now_s), group.sessions.is_truncated)
            for name, group in groups.items()
        }

    async def _do_handshakes(self) -> HandshakeTotals:
        return await self._plane.handshakes()

    async def _do_nothing(self) -> None:
        """Answer that all before has been done."""

    async def _do_outcomes(self) -> Mapping[Outcome, list[float]]:
        return await self._plane.outcomes()

    async def _do_explain(self, request_id: str) -> dict[str, object] | None:
        return await self._plane.explain(request_id)

    async def _do_recent(self, count: int) -> list[dict[str, object]]:
        return await self._plane.recent(count)

    async def _do_drain(self, timeout_s: float) -> int:
        return await self._plane.drain(timeout_s, self._cutting)

    def _target_error(self, group: TargetGroup, state: TargetState, kind: ErrorKind) -> None:
        slot = self._mirror.slot_of(state)
        if slot is not None:
            self._channel.send(("target_error", group.name, slot, kind, state.failures))

    def _orphaned(self) -> None:
        self._wanted.put_nowait((None, "drain", (_ORPHANED_S,)))


if __name__ == "__main__":
    main(*[int(argument) for argument in sys.argv[1:]])

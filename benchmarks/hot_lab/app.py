"""A target of fixed capacity: a shop with limpet's sessions that serves one request at a time; a process.

Theory of operation. A request's service takes its time by the clock, not by the processor: whoever comes
gets a place in a queue of one server, waits until the one before is done, and is answered so much
later. The places are reckoned, so a busy machine delays an answer but takes nothing from
the capacity, and five targets fit on one core. Health checks do not queue.

It starts, makes a file to say so, and listens once it is told to (SIGUSR1): a target that "comes up"
does not take the processor from the others to start an interpreter.

usage: app.py NAME PORT SECONDS FILE   (LIMPET_SESSION_STORE and LIMPET_SECRET as for any app)
"""

from __future__ import annotations

import asyncio
import signal
import sys
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs

import uvicorn

from limpet.sessions.asgi import SessionMiddleware

#: On a machine this full, an answer of the store that takes long is no outage.
_DEADLINE_S = 2.0


class OneServer:
    """A queue before one server; see the head of this module."""

    def __init__(self, service_s: float) -> None:
        self._service_s = service_s
        self._free_s = 0.0

    def enter(self, now_s: float) -> tuple[float, float]:
        """Queue a request; return when its service begins and ends."""
        begin_s = max(now_s, self._free_s)
        self._free_s = begin_s + self._service_s
        return begin_s, self._free_s


class Shop:
    """Greets who is logged in.

    Args:
        name: of this target, told in every response.
        service_s: what a request takes.
    """

    def __init__(self, name: str, service_s: float) -> None:
        self._name = name.encode()
        self._server = OneServer(service_s)

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        """Serve a request, or the lifespan."""
        if scope["type"] == "lifespan":
            await _live(receive, send)
        elif scope["path"] == "/health":
            await self._answer(send, b"ok\n")
        else:
            loop = asyncio.get_running_loop()
            begin_s, end_s = self._server.enter(loop.time())
            await asyncio.sleep(begin_s - loop.time())
            page = await _serve(scope)
            await asyncio.sleep(end_s - loop.time())
            await self._answer(send, page)

    async def _answer(self, send: Any, body: bytes) -> None:
        headers = [
            (b"content-type", b"text/plain"),
            (b"content-length", str(len(body)).encode()),
            (b"x-target", self._name),
        ]
        await send({"type": "http.response.start", "status": 200, "headers": headers})
        await send({"type": "http.response.body", "body": body})


async def _serve(scope: Any) -> bytes:
    session = scope["session"]
    await session.aload()
    if scope["path"] == "/login":
        session.login(parse_qs(scope["query_string"].decode())["name"][0])
    elif scope["path"] == "/cart" and session.user_id is not None:
        session.incr("cart")
    if session.user_id is None:
        return b"You are logged out\n"
    return f"Hello {session.user_id}\n".encode()


async def _live(receive: Any, send: Any) -> None:
    for _ in range(2):
        message = await receive()
        await send({"type": f"{message['type']}.complete"})


def main(name: str, port: str, service_s: str, ready: str) -> None:
    """Wait to be told, then serve until SIGTERM."""
    signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGUSR1})
    app = SessionMiddleware(Shop(name, float(service_s)), deadline_s=_DEADLINE_S)
    Path(ready).touch()
    signal.sigwait({signal.SIGUSR1})
    # What waits in the queue is answered at the end; it is no more than the balancers wait for.
    uvicorn.run(
        app, port=int(port), log_level="error", access_log=False, backlog=8192, timeout_graceful_shutdown=30
    )


if __name__ == "__main__":
    main(*sys.argv[1:])

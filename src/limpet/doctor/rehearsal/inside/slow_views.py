"""Makes a view slow on order: between reading the session and writing it back, where races live.

Delaying the request before the app, or its response after it, would show nothing. So the delay is
put where each framework calls the view, after its session middleware has read the session.
"""

from __future__ import annotations

import asyncio
import sys
import threading
import time
from contextvars import ContextVar
from typing import Any

from limpet.doctor.rehearsal.inside.secrets_of import layers

#: How long the view of the current request takes longer.
delay_s: ContextVar[float] = ContextVar("limpet_rehearsal_delay_s", default=0.0)


_lock = threading.Lock()
_delayed = 0


def delayed() -> int:
    """Return how many views are being delayed now."""
    return _delayed


def install(app: object) -> None:
    """Change the frameworks that the app has imported."""
    flask = sys.modules.get("flask")
    if flask is not None:
        _install_flask(flask.Flask)
    django = sys.modules.get("django.core.handlers.base")
    if django is not None:
        _install_django(django.BaseHandler, [x for x in layers(app) if isinstance(x, django.BaseHandler)])
    starlette = sys.modules.get("starlette.routing")
    if starlette is not None:
        _install_starlette(starlette.Router)


def _install_flask(kind: Any) -> None:
    dispatch = kind.dispatch_request

    def dispatch_request(self: Any, *args: Any, **named: Any) -> Any:
        if delay_s.get():
            _sleep(delay_s.get())
        return dispatch(self, *args, **named)

    kind.dispatch_request = dispatch_request


def _install_django(kind: Any, handlers: list[Any]) -> None:
    # The chain of middleware is made already, and ends in a method that was bound then: it is made
    # again where that has to be another one.
    respond, resolve = kind._get_response_async, kind.resolve_request  # noqa: SLF001

    async def get_response_async(self: Any, request: Any) -> Any:
        seconds = delay_s.get()
        if seconds:
            await asyncio.to_thread(_read_session, request)
            await _sleep_async(seconds)
        return await respond(self, request)

    def resolve_request(self: Any, request: Any) -> Any:
        if delay_s.get() and not is_async:
            _read_session(request)
            _sleep(delay_s.get())
        return resolve(self, request)

    kind._get_response_async, kind.resolve_request = get_response_async, resolve_request  # noqa: SLF001
    asynchronous = [each for each in handlers if type(each).__name__ == "ASGIHandler"]
    is_async = bool(asynchronous)
    for handler in asynchronous:
        handler.load_middleware(is_async=True)


def _read_session(request: Any) -> None:
    # It is lazy: nearly every view reads it first, for `request.user`.
    session = getattr(request, "session", None)
    if session is not None:
        list(session.keys())


def _install_starlette(kind: Any) -> None:
    call = kind.__call__

    async def slow(self: Any, scope: Any, receive: Any, send: Any) -> None:
        seconds = delay_s.get()
        if seconds and scope["type"] == "http":
            delay_s.set(0.0)  # routers lie within routers
            await _sleep_async(seconds)
        await call(self, scope, receive, send)

    kind.__call__ = slow


def _count(change: int) -> None:
    global _delayed  # noqa: PLW0603  # one number for the process, from any thread
    with _lock:
        _delayed += change


def _sleep(seconds: float) -> None:
    _count(1)
    time.sleep(seconds)
    _count(-1)


async def _sleep_async(seconds: float) -> None:
    _count(1)
    await asyncio.sleep(seconds)
    _count(-1)

"""What the balancer says of a request: a floor that copies must reach. And what a WebSocket says to it."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from limpet.core.session_state import Floor, SessionState, parse_state
from limpet.sessions import Policy, Session, Sessions, StoreUnavailableError
from limpet.sessions.asgi import SessionMiddleware
from limpet.sessions.balancer import Told
from limpet.sessions.stores.memory import MemoryStore

SECRET = "a secret for tests that is long enough"


class Store(MemoryStore):
    identity = "a store of the test"  # type: ignore[assignment]
    is_down = False

    def run(self, operation: Any) -> Any:
        if self.is_down:
            raise ConnectionRefusedError("down")
        return super().run(operation)


def cookie_of(headers: list[tuple[str, str]]) -> str:
    (line,) = [value for name, value in headers if name == "Set-Cookie"]
    return line.split(";")[0].partition("=")[2]


def state_of(sessions: Sessions, session: Session) -> SessionState:
    ((_, value),) = sessions.balancer.tell(session)
    state = parse_state(value.encode())
    assert state is not None
    return state


def test_a_stale_copy_below_the_floor_is_not_read() -> None:
    store = Store()
    sessions = Sessions(store, secret=SECRET, policy=Policy(on_unknown="stale"))
    session = sessions.open(None, told=Told())
    session["n"] = 1
    cookie = cookie_of(sessions.save(session))
    assert sessions.open(cookie, is_safe=True)["n"] == 1
    store.is_down = True
    tag = state_of(sessions, session).tag
    for floor in (Floor(1, tag), Floor(2, "00000000"), Floor(2)):
        assert sessions.open(cookie, is_safe=True, told=Told(floor))["n"] == 1
    with pytest.raises(StoreUnavailableError):
        sessions.open(cookie, is_safe=True, told=Told(Floor(2, tag)))["n"]


def test_a_websocket_is_pinned_and_says_so_when_it_is_accepted() -> None:
    async def app(scope: Any, _receive: Any, send: Any) -> None:
        scope["session"]["n"] = 1
        await send({"type": "websocket.accept"})
        scope["session"].unpin()  # nothing else is in this process
        await send({"type": "websocket.close"})

    async def handshake(headers: list[tuple[bytes, bytes]]) -> list[Any]:
        sent: list[Any] = []

        async def send(message: Any) -> None:
            sent.append(message)

        async def receive() -> Any:
            return {"type": "websocket.connect"}

        middleware = SessionMiddleware(app, Sessions(Store(), secret=SECRET))
        await middleware({"type": "websocket", "headers": headers, "path": "/"}, receive, send)
        return sent

    accept = asyncio.run(handshake([(b"limpet-floor", b"0")]))[0]
    states = [value for name, value in accept["headers"] if name == b"limpet-state"]
    (state,) = map(parse_state, states)
    assert state is not None
    assert (state.is_portable, state.why, state.version, state.has_user) == (False, "websocket", 1, False)
    assert len(state.tag) == 8
    accept = asyncio.run(handshake([]))[0]
    assert [name for name, _ in accept["headers"]] == [b"set-cookie"]


def test_a_reason_for_a_pin_is_a_word() -> None:
    session = Sessions(Store(), secret=SECRET).open(None)
    for why in ("", "Two Words", "a; why=memory", "x" * 33):
        with pytest.raises(ValueError, match="is no reason for a pin"):
            session.pin(why)

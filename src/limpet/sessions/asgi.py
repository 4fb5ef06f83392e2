"""Sessions for ASGI apps: Starlette, FastAPI, Litestar and others; for HTTP and WebSockets.

The session is put into `scope["session"]`, where the frameworks look for it (`request.session`). It is
saved, without blocking the event loop, when the app sends the head of its response, and before that goes
out; of a WebSocket, when it is accepted. From then on it refuses changes, for they could not be told to
the client. An app that raises instead of answering saves nothing.

A store that does not say whether the session lives makes the answer 503, with no cookie set or cleared:
when the app lets `StoreUnavailableError` through or makes its plain 500 of it (Litestar does, before
anything outside of its handlers could see the error), and when the save fails. Any other answer that the
app makes of it goes out as it is.

No framework is imported.

Source: ASGI specification 3.0, HTTP and WebSocket 2.5, lifespan 2.0.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping, MutableMapping
from enum import Enum
from typing import Any, TypeAlias, Unpack

from limpet.sessions.balancer import Told, read_told
from limpet.sessions.errors import SessionError, StoreUnavailableError, outage_behind
from limpet.sessions.headers import ONLY_VARY, OUTAGE_BODY, Headers, after_outage, merge, of_outage
from limpet.sessions.service import Options, Sessions
from limpet.sessions.session import Session

Scope: TypeAlias = MutableMapping[str, Any]
Message: TypeAlias = MutableMapping[str, Any]
Receive: TypeAlias = Callable[[], Awaitable[Message]]
Send: TypeAlias = Callable[[Message], Awaitable[None]]
App: TypeAlias = Callable[[Scope, Receive, Send], Awaitable[None]]

_SAFE_METHODS = {"GET", "HEAD", "OPTIONS", "TRACE"}
_DENIAL = "websocket.http.response"
_HEADS = {"http.response.start", f"{_DENIAL}.start"}
_TRY_AGAIN_LATER = 1013


class SessionMiddleware:
    """Give an ASGI app sessions that every server can read.

    `app.add_middleware(SessionMiddleware, store="redis://...", secret=...)` in Starlette and FastAPI;
    around any other app, `SessionMiddleware(app, store=...)`.

    Args:
        app: the app inside.
        sessions: made elsewhere, for lists of devices and for revoking, or because the middleware is
            made more than once: Litestar makes one for each route.
        options: as for `Sessions`, if none are given.

    Raises:
        ConfigError: no store, no secret, or settings that browsers refuse.
        KeyRingError: a secret that is too short.
    """

    def __init__(self, app: App, sessions: Sessions | None = None, **options: Unpack[Options]) -> None:
        if sessions is not None and options:
            raise TypeError("with sessions=, other options belong to Sessions(...)")
        self.app = app
        self.sessions = sessions if sessions is not None else Sessions(**options)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve a request, a WebSocket or the lifespan."""
        kind = scope["type"]
        if kind == "lifespan":
            await self.app(scope, self._starting(receive), self._ending(send))
        elif kind in {"http", "websocket"} and not isinstance(scope.get("session"), Session):
            self.sessions.tell_findings()
            exchange = (_Http if kind == "http" else _WebSocket)(self.sessions, scope, send)
            await exchange.run(self.app, receive)
        else:  # nothing that has a session, or a request that has one already: the outer middleware counts
            await self.app(scope, receive, send)

    def _starting(self, receive: Receive) -> Receive:
        async def received() -> Message:
            message = await receive()
            if message["type"] == "lifespan.startup":
                self.sessions.tell_findings()
            return message

        return received

    def _ending(self, send: Send) -> Send:
        async def sent(message: Message) -> None:
            if message["type"].startswith("lifespan.shutdown."):
                await self.sessions.aclose()
            await send(message)

        return sent


class _Http:
    # One request and its response.

    def __init__(self, sessions: Sessions, scope: Scope, send: Send) -> None:
        self._sessions = sessions
        self._scope = scope
        self._send = send
        self._session = scope["session"] = _open(sessions, scope)
        self._has_begun = False
        self._is_refused = False

    async def run(self, app: App, receive: Receive) -> None:
        session = self._session
        if session.is_slow and session.loaded is None:
            await session.aload()
        await self._sessions.balancer.atell_moved(session)
        try:
            await app(self._scope, receive, self.send)
        except Exception as error:
            outage = outage_behind(error)
            if outage is None or not (self._may_refuse() or self._is_refused):
                raise
            # Starlette raises it again after a page for it, which was replaced here.
            if not self._is_refused:
                await self._refuse(outage)
        else:
            if session.refusal is not None and self._may_refuse() and not self._has_begun:
                await self._refuse(session.refusal)
        finally:
            self._tell_late_changes()

    async def send(self, message: Message) -> None:
        if self._is_refused:
            return
        if message["type"] in _HEADS:
            if message["status"] == 500 and self._session.refusal is not None:
                await self._refuse(self._session.refusal)
                return
            message = _with(message, await self._save())
            message = self._telling(message)
            self._begin()
        await self._send(message)

    def _may_refuse(self) -> bool:
        return not self._has_begun

    async def _refuse(self, outage: StoreUnavailableError, prefix: str = "http.response") -> None:
        self._has_begun = self._is_refused = True
        headers = of_outage(outage, accessed=self._session.accessed)
        self._session.standing.is_silent = True
        await self._send(self._telling(_with({"type": f"{prefix}.start", "status": 503}, headers)))
        await self._send({"type": f"{prefix}.body", "body": OUTAGE_BODY})

    async def _save(self) -> Headers:
        session = self._session
        if self._scope.get("session") is not session:
            _take_over(session, self._scope.get("session"))
        if session.refusal is not None:
            return after_outage(accessed=session.accessed)
        if not session.accessed:
            return []
        try:
            headers = await self._sessions.asave(session)
        except StoreUnavailableError as error:
            session.refusal = error
            raise
        self._sessions.tell_scheme(headers, self._scope.get("scheme", ""))
        return headers

    def _telling(self, message: Message, *, is_websocket: bool = False) -> Message:
        if self._session.client.told is None:
            return message
        told = self._sessions.balancer.tell(self._session, is_websocket=is_websocket)
        encoded = [(name.lower().encode(), value.encode()) for name, value in told]
        return {**message, "headers": [*message.get("headers", []), *encoded]}

    def _begin(self, *, may_begin_session: bool = False) -> None:
        self._has_begun = True
        self._session.close(may_begin=may_begin_session)

    def _tell_late_changes(self) -> None:
        late = self._session.late_changes()
        if late:
            self._sessions.events.changed_late(late)


class _WebSocket(_Http):
    # The handshake is the only response; what comes afterwards goes straight through.

    _is_closed = False

    def __init__(self, sessions: Sessions, scope: Scope, send: Send) -> None:
        super().__init__(sessions, scope, send)
        self._session.client.is_lasting = True

    async def send(self, message: Message) -> None:
        kind = message["type"]
        if kind == "websocket.accept" and not self._is_refused:
            # Nothing caches the handshake, so the cookie is all that it has to say.
            cookie = [each for each in await self._save() if each[0] == "Set-Cookie"]
            message = self._telling(_with(message, cookie), is_websocket=True)
            self._begin(may_begin_session=True)
            await self._send(message)
        else:
            self._is_closed = self._is_closed or kind == "websocket.close"
            await super().send(message)

    def _may_refuse(self) -> bool:
        return not self._is_closed

    async def _refuse(self, outage: StoreUnavailableError, prefix: str = _DENIAL) -> None:
        if not self._has_begun and prefix in self._scope.get("extensions", {}):
            await super()._refuse(outage, prefix)
        else:
            self._has_begun = self._is_refused = True
            reason = "the session store does not answer"
            await self._send({"type": "websocket.close", "code": _TRY_AGAIN_LATER, "reason": reason})
        self._is_closed = True


def _open(sessions: Sessions, scope: Scope) -> Session:
    cookie, user_agent = b"", b""
    floor: bytes | None = None
    moved: bytes | None = None
    for name, value in scope["headers"]:
        if name == b"cookie":
            cookie = cookie + b"; " + value if cookie else value
        elif name == b"user-agent":
            user_agent = value
        elif name == b"limpet-floor":
            floor = value
        elif name == b"limpet-moved":
            moved = value
    client = scope.get("client")
    return sessions.open_header(
        cookie,
        address=client[0] if client else "",
        user_agent=user_agent.decode("latin-1"),
        is_safe=scope.get("method", "GET") in _SAFE_METHODS,
        told=_told(floor, moved) if floor is not None else None,
    )


def _told(floor: bytes, moved: bytes | None) -> Told | None:
    return read_told(floor.decode("latin-1"), moved.decode("latin-1") if moved is not None else None)


def _take_over(session: Session, content: Any) -> None:
    # What the app has put in the session's place: nothing, or Litestar's `Empty` (a class once, now the
    # member of an Enum), to end it; a mapping for other fields.
    if content is None or isinstance(content, type | Enum):
        session.clear()
    elif isinstance(content, Mapping):
        for name in [name for name in session if name not in content]:
            del session[name]
        session.update(content)
    else:
        raise SessionError(f"scope['session'] became a {type(content).__name__}; put a mapping there")


def _with(message: Message, added: Headers) -> Message:
    if not added:
        return message
    if added == ONLY_VARY and all(name.lower() != b"vary" for name, _ in message.get("headers", [])):
        return {**message, "headers": [*message.get("headers", []), (b"vary", b"Cookie")]}
    headers = [
        (name.decode("latin-1"), value.decode("latin-1")) for name, value in message.get("headers", [])
    ]
    merged = merge(headers, added)
    encoded = [(name.lower().encode("latin-1"), value.encode("latin-1")) for name, value in merged]
    return {**message, "headers": encoded}

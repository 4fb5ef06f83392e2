"""Sites: an app without a server, asked from any thread; WSGI as it is, ASGI in an event loop of its own.

A test drives both kinds the same way:

    with WsgiSite(app) as site:             # or AsgiSite(app)
        browser = Browser(site)
        browser.get("/login/1")             # its jar now has the session cookie
        assert browser.get("/state").json()["user"] == "1"
"""

from __future__ import annotations

import asyncio
import io
import json
import threading
from dataclasses import dataclass, field
from email.utils import parsedate_to_datetime
from http.cookies import SimpleCookie
from typing import TYPE_CHECKING, Any, Protocol, Self
from urllib.parse import urlsplit
from wsgiref.util import setup_testing_defaults

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

#: For what only comes late if something hangs.
TIMEOUT_S = 30.0
ADDRESS = "192.0.2.7"
Headers = list[tuple[str, str]]


@dataclass
class Answer:
    """A whole response; header names in lower case, in the order in which they came."""

    status: int
    headers: Headers
    body: bytes

    def values(self, name: str) -> list[str]:
        return [value for each, value in self.headers if each == name]

    def json(self) -> Any:
        return json.loads(self.body)


class Site(Protocol):
    """An app that can be asked, from several threads at once."""

    def request(self, method: str, target: str, headers: Headers, body: bytes = b"") -> Answer: ...


@dataclass
class Browser:
    """A cookie jar in front of a site; one path, one domain."""

    site: Site
    cookies: dict[str, str] = field(default_factory=dict)

    def get(self, target: str, **headers: str) -> Answer:
        return self.request("GET", target, **headers)

    def request(self, method: str, target: str, body: bytes = b"", **headers: str) -> Answer:
        """Send a request and keep the cookies of its answer; `user_agent="x"` is the header User-Agent."""
        sent = [(name.replace("_", "-"), value) for name, value in headers.items()]
        if self.cookies:
            sent.append(("cookie", "; ".join(f"{name}={value}" for name, value in self.cookies.items())))
        answer = self.site.request(method, target, sent, body)
        for line in answer.values("set-cookie"):
            self._keep(line)
        return answer

    def _keep(self, line: str) -> None:
        for name, morsel in SimpleCookie(line).items():
            expires = morsel["expires"]
            if morsel["max-age"] == "0" or (expires and parsedate_to_datetime(expires).year == 1970):
                self.cookies.pop(name, None)
            else:
                self.cookies[name] = morsel.value

    def twin(self) -> Browser:
        """Return another browser that has the same cookies now."""
        return Browser(self.site, dict(self.cookies))


class WsgiSite:
    """A WSGI app, run in the thread that asks."""

    def __init__(self, app: Callable[..., Any]) -> None:
        self.app = app

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        """Nothing to end."""

    def request(self, method: str, target: str, headers: Headers, body: bytes = b"") -> Answer:
        started: list[tuple[str, Headers]] = []
        written: list[bytes] = []

        def start_response(status: str, sent: Headers, _exc_info: Any = None) -> Any:
            started.append((status, list(sent)))
            return written.append

        chunks = self.app(self._environ(method, target, headers, body), start_response)
        try:
            written.extend(chunks)
        finally:
            if hasattr(chunks, "close"):
                chunks.close()
        status, sent = started[-1]
        return Answer(
            int(status.split()[0]), [(name.lower(), value) for name, value in sent], b"".join(written)
        )

    def _environ(self, method: str, target: str, headers: Headers, body: bytes) -> dict[str, Any]:
        url = urlsplit(target)
        environ: dict[str, Any] = {
            "REQUEST_METHOD": method,
            "SCRIPT_NAME": "",
            "PATH_INFO": url.path,
            "QUERY_STRING": url.query,
            "REMOTE_ADDR": ADDRESS,
            "CONTENT_LENGTH": str(len(body)),
            "wsgi.input": io.BytesIO(body),
        }
        for name, value in headers:
            key = name.upper().replace("-", "_")
            environ[key if key == "CONTENT_TYPE" else f"HTTP_{key}"] = value
        setup_testing_defaults(environ)
        return environ


class AsgiSite:
    """An ASGI app in an event loop in a thread, with its lifespan if it has one.

    Args:
        on_close: awaited in the loop at the end; for connections of an app without a lifespan.
    """

    def __init__(self, app: Callable[..., Any], on_close: Callable[[], Awaitable[Any]] | None = None) -> None:
        self.app = app
        self._on_close = on_close
        self._thread = threading.Thread(target=lambda: asyncio.run(self._live()))
        self._is_up = threading.Event()

    def __enter__(self) -> Self:
        self._thread.start()
        assert self._is_up.wait(TIMEOUT_S)
        return self

    def __exit__(self, *_: object) -> None:
        self._loop.call_soon_threadsafe(self._ends.set)
        self._thread.join(TIMEOUT_S)
        assert not self._thread.is_alive()

    def run(self, coroutine: Any) -> Any:
        """Run a coroutine in the app's event loop and return its result."""
        return asyncio.run_coroutine_threadsafe(coroutine, self._loop).result(TIMEOUT_S)

    def request(self, method: str, target: str, headers: Headers, body: bytes = b"") -> Answer:
        answer: Answer = self.run(self._request(method, target, headers, body))
        return answer

    async def _live(self) -> None:
        self._loop, self._ends = asyncio.get_running_loop(), asyncio.Event()
        self._inbox: asyncio.Queue[dict[str, Any]] = asyncio.Queue()
        self._outbox: asyncio.Queue[str] = asyncio.Queue()
        lifespan = asyncio.create_task(self._lifespan())
        await self._tell(lifespan, "startup")
        self._is_up.set()
        await self._ends.wait()
        await self._tell(lifespan, "shutdown")
        if self._on_close is not None:
            await self._on_close()

    async def _lifespan(self) -> None:
        async def send(message: dict[str, Any]) -> None:
            await self._outbox.put(message["type"])

        scope = {"type": "lifespan", "asgi": {"version": "3.0"}, "state": {}}
        try:
            await self.app(scope, self._inbox.get, send)
        except Exception:  # noqa: BLE001  # such is how an app says that it has no lifespan
            await self._outbox.put("none")

    async def _tell(self, lifespan: asyncio.Task[None], what: str) -> None:
        if lifespan.done():
            return
        await self._inbox.put({"type": f"lifespan.{what}"})
        answer = await self._outbox.get()
        assert answer in {f"lifespan.{what}.complete", "none"}, answer
        if what == "shutdown" or answer == "none":
            await lifespan

    async def _request(self, method: str, target: str, headers: Headers, body: bytes) -> Answer:
        started: list[dict[str, Any]] = []
        written: list[bytes] = []
        to_come = [{"type": "http.request", "body": body, "more_body": False}]

        async def receive() -> dict[str, Any]:
            if not to_come:
                await asyncio.Event().wait()
            return to_come.pop()

        async def send(message: dict[str, Any]) -> None:
            if message["type"] == "http.response.start":
                started.append(message)
            else:
                assert started
                written.append(message.get("body", b""))

        await self.app(_http_scope(method, target, headers), receive, send)
        sent = [(name.decode(), value.decode()) for name, value in started[0].get("headers", [])]
        return Answer(
            started[0]["status"], [(name.lower(), value) for name, value in sent], b"".join(written)
        )


def _http_scope(method: str, target: str, headers: Headers) -> dict[str, Any]:
    url = urlsplit(target)
    sent = [("host", "127.0.0.1"), *headers]
    return {
        "type": "http",
        "asgi": {"version": "3.0", "spec_version": "2.4"},
        "http_version": "1.1",
        "method": method,
        "scheme": "http",
        "path": url.path,
        "raw_path": url.path.encode(),
        "root_path": "",
        "query_string": url.query.encode(),
        "headers": [(name.lower().encode(), value.encode()) for name, value in sent],
        "client": (ADDRESS, 4711),
        "server": ("127.0.0.1", 80),
        "state": {},
    }

"""Apps that are called in this process, without a web server, and a browser that keeps their cookies."""

from __future__ import annotations

import io
import sys
import time
from typing import TYPE_CHECKING, Any, NamedTuple

import uvloop

if TYPE_CHECKING:
    from collections.abc import Callable

#: Other cookies that a browser has from most sites.
_OTHER_COOKIES = "consent=1-0-1; _ga=GA1.1.1735689600.1767225600"
_USER_AGENT = "Mozilla/5.0 (X11; Linux x86_64; rv:140.0) Gecko/20100101 Firefox/140.0"


class Answer(NamedTuple):
    """What an app answered.

    Attributes:
        wall_ns, cpu_ns: of the app's part alone; the processor time is this process's.
    """

    status: int
    body: bytes
    headers: list[tuple[str, str]]
    wall_ns: int
    cpu_ns: int


class WsgiSite:
    """A WSGI app."""

    def __init__(self, app: Any) -> None:
        self._app = app

    def get(self, path: str, query: str, cookie: str) -> Answer:
        """Make a request."""
        environ = _environ(path, query, cookie)
        begun: list[Any] = []

        def start_response(status: str, headers: list[tuple[str, str]], _exc_info: Any = None) -> Any:
            begun[:] = [status, headers]

        cpu_ns, wall_ns = time.process_time_ns(), time.perf_counter_ns()
        chunks = self._app(environ, start_response)
        body = b"".join(chunks)
        if hasattr(chunks, "close"):
            chunks.close()
        wall_ns, cpu_ns = time.perf_counter_ns() - wall_ns, time.process_time_ns() - cpu_ns
        return Answer(int(begun[0][:3]), body, begun[1], wall_ns, cpu_ns)

    def close(self) -> None:
        """Do nothing: there is nothing to close."""


class AsgiSite:
    """An ASGI app, in an event loop of its own.

    Args:
        end: closes its connections.
    """

    def __init__(self, app: Any, end: Callable[[], Any] | None = None) -> None:
        self._app = app
        self._end = end
        self._loop = uvloop.new_event_loop()

    def get(self, path: str, query: str, cookie: str) -> Answer:
        """Make a request."""
        return self._loop.run_until_complete(self._aget(_scope(path, query, cookie)))

    async def _aget(self, scope: dict[str, Any]) -> Answer:
        sent: list[Any] = []

        async def receive() -> dict[str, Any]:
            return {"type": "http.request", "body": b"", "more_body": False}

        async def send(message: dict[str, Any]) -> None:
            sent.append(message)

        cpu_ns, wall_ns = time.process_time_ns(), time.perf_counter_ns()
        await self._app(scope, receive, send)
        wall_ns, cpu_ns = time.perf_counter_ns() - wall_ns, time.process_time_ns() - cpu_ns
        head, *rest = sent
        headers = [(name.decode("latin-1"), value.decode("latin-1")) for name, value in head["headers"]]
        body = b"".join(each.get("body", b"") for each in rest)
        return Answer(head["status"], body, headers, wall_ns, cpu_ns)

    def close(self) -> None:
        """Close its connections and its loop."""
        if self._end is not None:
            self._loop.run_until_complete(self._end())
        self._loop.run_until_complete(self._loop.shutdown_asyncgens())
        self._loop.close()


Site = WsgiSite | AsgiSite


class Browser:
    """Keeps the cookies of one site."""

    def __init__(self, site: Site) -> None:
        self._site = site
        self._cookies: dict[str, str] = {}

    def get(self, path: str, query: str = "") -> Answer:
        """Make a request; an answer other than 200 ends the measurement."""
        own = [f"{name}={value}" for name, value in self._cookies.items()]
        answer = self._site.get(path, query, "; ".join([*own, _OTHER_COOKIES]))
        if answer.status != 200:
            sys.exit(f"{path} was answered with {answer.status}: {answer.body[:500]!r}")
        for header, value in answer.headers:
            if header.lower() == "set-cookie":
                name, _, content = value.split(";")[0].partition("=")
                self._cookies[name] = content
        return answer


def _environ(path: str, query: str, cookie: str) -> dict[str, Any]:
    return {
        "REQUEST_METHOD": "GET",
        "SCRIPT_NAME": "",
        "PATH_INFO": path,
        "QUERY_STRING": query,
        "SERVER_NAME": "shop.example",
        "SERVER_PORT": "443",
        "SERVER_PROTOCOL": "HTTP/1.1",
        "REMOTE_ADDR": "192.0.2.7",
        "HTTP_HOST": "shop.example",
        "HTTP_USER_AGENT": _USER_AGENT,
        "HTTP_ACCEPT": "text/html,application/xhtml+xml,application/xml;q=0.9,*/*;q=0.8",
        "HTTP_ACCEPT_LANGUAGE": "de-AT,de;q=0.7,en;q=0.3",
        "HTTP_COOKIE": cookie,
        "wsgi.version": (1, 0),
        "wsgi.url_scheme": "https",
        "wsgi.input": io.BytesIO(),
        "wsgi.errors": sys.stderr,
        "wsgi.multithread": True,
        "wsgi.multiprocess": True,
        "wsgi.run_once": False,
    }


def _scope(path: str, query: str, cookie: str) -> dict[str, Any]:
    return {
        "type": "http",
        "asgi": {"version": "3.0", "spec_version": "2.5"},
        "http_version": "1.1",
        "method": "GET",
        "scheme": "https",
        "path": path,
        "raw_path": path.encode(),
        "query_string": query.encode(),
        "root_path": "",
        "headers": [
            (b"host", b"shop.example"),
            (b"user-agent", _USER_AGENT.encode()),
            (b"accept", b"text/html,application/xhtml+xml,application/xml;q=0.9,*/*;q=0.8"),
            (b"accept-language", b"de-AT,de;q=0.7,en;q=0.3"),
            (b"cookie", cookie.encode()),
        ],
        "client": ("192.0.2.7", 50000),
        "server": ("shop.example", 443),
        "state": {},
    }

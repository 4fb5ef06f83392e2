"""The only door to the site: every request passes the rules of `safety`, the budget and the pace.

Each request has a connection of its own, unless one is asked for: a kept connection stays with one
worker or target and hides what the doctor looks for. Redirects are not followed and no cookie is kept
here; both are the business of whoever asks.
"""

from __future__ import annotations

import asyncio
import ssl
import time
from contextlib import asynccontextmanager, contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

import httpx

from limpet import __version__
from limpet.doctor.probe.safety import (
    Brakes,
    ForbiddenError,
    StoppedError,
    is_forbidden_path,
    limits_for,
    retry_after_s,
)

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable, Iterator

    from limpet.doctor.probe.safety import Limits, Scope

USER_AGENT = f"limpet-doctor/{__version__}"
_ACCEPT = "text/html,application/json;q=0.9,*/*;q=0.8"
_TIMEOUT_S = 20.0
_MAX_BODY_BYTES = 1 << 19
#: A site that asks for more patience than this is left alone.
_MAX_RETRY_AFTER_S = 60.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Reply:
    """An answer as it came.

    Attributes:
        status: 0 if none came; `failure` then says why.
        headers: names in lower case, order and repetition kept.
        sent_at_s, took_s: monotonic.
        wall_s: our clock when it came.
    """

    url: str
    method: str = "GET"
    status: int = 0
    headers: tuple[tuple[str, str], ...] = ()
    body: bytes = b""
    sent_at_s: float = 0.0
    took_s: float = 0.0
    wall_s: float = 0.0
    failure: str = ""

    def header(self, name: str) -> str:
        """Return a header's first value; "" if it is absent."""
        return next((value for key, value in self.headers if key == name), "")


class Client:
    """Asks a site, within the rules.

    Args:
        tell: called after each request with the numbers of requests used and allowed.
        verify: how certificates are checked; False for not at all.
        address: an IP address to ask instead of what DNS says.
    """

    def __init__(
        self,
        scope: Scope,
        *,
        limits: Limits | None = None,
        verify: ssl.SSLContext | bool = True,
        address: str = "",
        tell: Callable[[int, int], None] = lambda _used, _budget: None,
    ) -> None:
        self.scope = scope
        self.limits = limits or limits_for(scope)
        self.used = 0
        self._address = address
        self._verify = ssl.create_default_context() if verify is True else verify
        self._tell = tell
        self._brakes = Brakes()
        self._slots = asyncio.Semaphore(self.limits.parallel)
        self._turn = asyncio.Lock()
        self._next_at_s = 0.0
        self._may_write = False

    @contextmanager
    def logging_in(self) -> Iterator[None]:
        """Allow other methods than GET and HEAD for a while."""
        self._may_write = True
        try:
            yield
        finally:
            self._may_write = False

    @asynccontextmanager
    async def kept_connection(self) -> AsyncIterator[httpx.AsyncHTTPTransport]:
        """Give a transport that keeps its connection, for `send`."""
        async with self._transport(keep=1) as transport:
            yield transport

    async def send(
        self,
        url: str,
        *,
        method: str = "GET",
        headers: tuple[tuple[str, str], ...] = (),
        body: bytes = b"",
        agent: str = USER_AGENT,
        address: str = "",
        kept: httpx.AsyncHTTPTransport | None = None,
    ) -> Reply:
        """Send one request.

        Raises:
            ForbiddenError: the request would break a rule.
            StoppedError: the budget is used up, or the site is not well.
        """
        self._check(url, method)
        async with self._slots:
            await self._take_turn()
            request = self._request(url, method, (*headers, ("user-agent", agent)), body, address)
            if kept is not None:
                reply = await _exchange(kept, request, url)
            else:
                async with self._transport(keep=0) as transport:
                    reply = await _exchange(transport, request, url)
        self._note(reply)
        return reply

    def _check(self, url: str, method: str) -> None:
        if not self.scope.covers(url):
            raise ForbiddenError(f"{url} is outside of the site; --allow-host would allow it")
        if is_forbidden_path(url):
            raise ForbiddenError("the path looks as if it ended a session or deleted something")
        if method not in {"GET", "HEAD"} and not self._may_write:
            raise ForbiddenError(f"{method} is sent for a login only")

    async def _take_turn(self) -> None:
        # One request of the budget, at its time.
        async with self._turn:
            if self.used >= self.limits.requests:
                raise StoppedError(f"the budget of {self.limits.requests} requests is used up")
            wait_s = self._next_at_s - time.monotonic()
            if wait_s > 0:
                await asyncio.sleep(wait_s)
            self.used += 1
            self._tell(self.used, self.limits.requests)
            if self.limits.per_s:
                self._next_at_s = max(self._next_at_s, time.monotonic()) + 1 / self.limits.per_s

    def _note(self, reply: Reply) -> None:
        if reply.status in {429, 503}:
            wait_s = retry_after_s(reply.header("retry-after"), reply.wall_s)
            if wait_s > _MAX_RETRY_AFTER_S:
                raise StoppedError(f"the site asked to wait {wait_s:.0f} s (Retry-After)")
            self._next_at_s = max(self._next_at_s, time.monotonic() + wait_s)
        self._brakes.note(reply.status)

    def _transport(self, *, keep: int) -> httpx.AsyncHTTPTransport:
        limits = httpx.Limits(max_keepalive_connections=keep, max_connections=1)
        return httpx.AsyncHTTPTransport(verify=self._verify, trust_env=False, limits=limits)

    def _request(
        self, url: str, method: str, headers: tuple[tuple[str, str], ...], body: bytes, address: str
    ) -> httpx.Request:
        parts = urlsplit(url)
        extensions = {"timeout": dict.fromkeys(("connect", "read", "write", "pool"), _TIMEOUT_S)}
        address = address or self._address
        if address:
            # The name still goes into Host and into the TLS handshake.
            port = f":{parts.port}" if parts.port else ""
            bracketed = f"[{address}]" if ":" in address else address
            url = parts._replace(netloc=bracketed + port).geturl()
            extensions["sni_hostname"] = parts.hostname  # type: ignore[assignment]
        fields = [
            ("host", parts.netloc.rpartition("@")[2]),
            ("accept", "text/html,application/json;q=0.9,*/*;q=0.8"),
        ]
        fields += [("accept-encoding", "identity"), *headers]
        return httpx.Request(method, url, headers=fields, content=body or None, extensions=extensions)


async def _exchange(transport: httpx.AsyncHTTPTransport, request: httpx.Request, url: str) -> Reply:
    started_s = time.monotonic()
    try:
        async with asyncio.timeout(_TIMEOUT_S):
            response = await transport.handle_async_request(request)
            body = b""
            async for chunk in response.aiter_raw():
                body += chunk
                if len(body) >= _MAX_BODY_BYTES:
                    break
            await response.aclose()
    except (httpx.HTTPError, TimeoutError, OSError) as error:
        took_s = time.monotonic() - started_s
        return Reply(
            url=url,
            method=request.method,
            sent_at_s=started_s,
            took_s=took_s,
            wall_s=time.time(),
            failure=f"{type(error).__name__}: {error}".rstrip(": "),
        )
    return Reply(
        url=url,
        method=request.method,
        status=response.status_code,
        headers=tuple(
            (name.decode("latin-1").lower(), value.decode("latin-1")) for name, value in response.headers.raw
        ),
        body=body,
        sent_at_s=started_s,
        took_s=time.monotonic() - started_s,
        wall_s=time.time(),
    )


def _text(raw: bytes) -> str:
    return raw.decode("latin-1")

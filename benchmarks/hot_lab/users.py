"""Users with browsers: each has an address, a cookie jar, and connections that it keeps.

What is due is sent, whether or not earlier requests are answered, and a latency counts from the time at
which its request was *due*: who has to wait for a login or a connection is charged for it. A user who is
not logged in, or was logged out, logs in instead of what was drawn.
"""

from __future__ import annotations

import asyncio
from contextlib import suppress
from email.utils import parsedate_to_datetime
from typing import TYPE_CHECKING, NamedTuple

from hot_lab.traffic import Kind

if TYPE_CHECKING:
    from collections.abc import Iterable

    from hot_lab.traffic import Action

_HEAD = (
    "{method} {path} HTTP/1.1\r\nHost: shop.example.com\r\nConnection: keep-alive\r\n"
    "User-Agent: Mozilla/5.0 (X11; Linux x86_64; rv:140.0) Gecko/20100101 Firefox/140.0\r\n"
    "Accept: text/html,application/xhtml+xml\r\nAccept-Language: en-US,en;q=0.9\r\n"
    "Accept-Encoding: gzip, deflate\r\n{cookie}{length}\r\n"
)
#: Of the app's sessions; all other cookies are the balancer's.
_SESSION_COOKIE = "limpet_session"


class Sample(NamedTuple):
    """What became of one request.

    Attributes:
        due_s, answered_s: in seconds of the run.
        target: who answered; "" if nobody, or the balancer.
        status: of HTTP; 0 if there was no answer.
        is_in: whether the page greeted the user.
        is_logout: the page greeted nobody, although the user was logged in.
        cookies: how many the balancer has set.
        fault: what went wrong, if there was no answer.
    """

    due_s: float
    answered_s: float
    user: int
    kind: Kind
    target: str
    status: int
    is_in: bool
    is_logout: bool
    cookies: int
    fault: str = ""


class Jar:
    """Cookies of one site, all of path "/"."""

    def __init__(self) -> None:
        self._values: dict[str, str] = {}

    def take(self, field: str) -> str:
        """Keep, replace or delete the cookie of a Set-Cookie field; return its name."""
        pair, *attributes = [part.strip() for part in field.split(";")]
        name, _, value = pair.partition("=")
        named = {key.lower(): text for key, _, text in (part.partition("=") for part in attributes)}
        if _is_over(named):
            self._values.pop(name, None)
        else:
            self._values[name] = value
        return name

    def field(self) -> str:
        """Return the Cookie field with its line end; "" without cookies."""
        pairs = "; ".join(f"{name}={value}" for name, value in self._values.items())
        return f"Cookie: {pairs}\r\n" if pairs else ""


def _is_over(attributes: dict[str, str]) -> bool:
    # Max-Age goes before Expires (RFC 6265 section 5.3).
    if "max-age" in attributes:
        with suppress(ValueError):
            return int(attributes["max-age"]) <= 0
    with suppress(KeyError, ValueError):
        return parsedate_to_datetime(attributes["expires"]).timestamp() <= 0
    return False


class Answer(NamedTuple):
    """An HTTP response."""

    status: int
    fields: list[tuple[str, str]]
    body: bytes


class _Connection(asyncio.Protocol):
    # One connection, with at most one request under way.

    def __init__(self) -> None:
        self._received = b""
        self._answer: asyncio.Future[Answer] | None = None
        self._transport: asyncio.Transport | None = None
        self.is_fresh = True

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = transport  # type: ignore[assignment]

    @property
    def is_open(self) -> bool:
        return self._transport is not None and not self._transport.is_closing()

    async def ask(self, request: bytes) -> Answer:
        assert self._transport is not None
        self._answer = asyncio.get_running_loop().create_future()
        self._transport.write(request)
        answer = await self._answer
        self.is_fresh = False
        return answer

    def data_received(self, data: bytes) -> None:
        self._received += data
        answer = _parsed(self._received)
        if answer is not None and self._answer is not None and not self._answer.done():
            self._received = b""
            self._answer.set_result(answer)

    def connection_lost(self, _error: Exception | None) -> None:
        if self._answer is not None and not self._answer.done():
            what = "cut within the answer" if self._received else "closed without an answer"
            self._answer.set_exception(ConnectionError(what))

    def close(self) -> None:
        if self._transport is not None:
            self._transport.abort()


def _parsed(received: bytes) -> Answer | None:
    # None as long as it is not complete.
    head, end, body = received.partition(b"\r\n\r\n")
    if not end:
        return None
    first, *lines = head.decode("latin-1").split("\r\n")
    fields = [(name.lower(), value.strip()) for name, _, value in (line.partition(":") for line in lines)]
    length = next((value for name, value in fields if name == "content-length"), None)
    is_complete = body.endswith(b"0\r\n\r\n") if length is None else len(body) >= int(length)
    return Answer(int(first.split()[1]), fields, body) if is_complete else None


class Browser:
    """One user's browser.

    Args:
        user: number; gives the name and the address, one of the loopback's own.
        patience_s: how long the user waits for a page.
    """

    def __init__(self, user: int, port: int, start_s: float, patience_s: float) -> None:
        self.user = user
        self.jar = Jar()
        self._port = port
        self._start_s = start_s
        self._patience_s = patience_s
        self._address = f"127.{1 + (user >> 16)}.{user >> 8 & 255}.{user & 255}"
        self._idle: list[_Connection] = []
        self._login = asyncio.Lock()
        self._logins = 0
        self.is_in = False

    async def act(self, action: Action) -> Sample:
        """Do what is due; log in instead, if need be."""
        if action.kind is not Kind.LOGIN and self.is_in:
            return await self._visit(action.due_s, action.kind)
        async with self._login:
            if not self.is_in:
                return await self._visit(action.due_s, Kind.LOGIN)
        return await self._visit(action.due_s, action.kind if action.kind is not Kind.LOGIN else Kind.READ)

    def close(self) -> None:
        """Close the connections that are left."""
        for connection in self._idle:
            connection.close()

    async def _visit(self, due_s: float, kind: Kind) -> Sample:
        was_in, login = self.is_in, self._logins
        now_s = asyncio.get_running_loop().time
        answer, fault = None, ""
        try:
            async with asyncio.timeout(self._patience_s):
                answer = await self._exchange(kind)
        except (TimeoutError, OSError) as error:
            fault = "not answered in time" if isinstance(error, TimeoutError) else str(error)
        answered_s = now_s() - self._start_s
        if answer is None:
            return Sample(due_s, answered_s, self.user, kind, "", 0, False, False, 0, fault)
        names = [self.jar.take(value) for name, value in answer.fields if name == "set-cookie"]
        is_in = answer.body == f"Hello u{self.user}\n".encode()
        is_logout = False
        if answer.status == 200 and kind is Kind.LOGIN:
            self.is_in = is_in
            self._logins += 1
        elif answer.status == 200 and not is_in and was_in and login == self._logins:
            is_logout, self.is_in = self.is_in, False
        return Sample(
            due_s,
            answered_s,
            self.user,
            kind,
            dict(answer.fields).get("x-target", ""),
            answer.status,
            is_in,
            is_logout,
            sum(name != _SESSION_COOKIE for name in names),
        )

    async def _exchange(self, kind: Kind) -> Answer:
        method = "GET" if kind is Kind.READ else "POST"
        path = {Kind.READ: "/", Kind.WRITE: "/cart", Kind.LOGIN: f"/login?name=u{self.user}"}[kind]
        length = "" if method == "GET" else "Content-Length: 0\r\n"
        while True:
            connection = await self._connection()
            was_fresh = connection.is_fresh
            # The jar is looked into at the last moment: an answer may have come meanwhile.
            head = _HEAD.format(method=method, path=path, cookie=self.jar.field(), length=length)
            try:
                answer = await connection.ask(head.encode())
            except ConnectionError:
                # A kept connection may be closed just when it is used again: browsers repeat that.
                if was_fresh or method != "GET":
                    raise
            except asyncio.CancelledError:
                connection.close()
                raise
            else:
                if connection.is_open:
                    self._idle.append(connection)
                return answer

    async def _connection(self) -> _Connection:
        while self._idle:
            connection = self._idle.pop()
            if connection.is_open:
                return connection
        loop = asyncio.get_running_loop()
        _, connection = await loop.create_connection(
            _Connection, "127.0.0.1", self._port, local_addr=(self._address, 0)
        )
        return connection


class Crowd:
    """All users of a run.

    Attributes:
        samples: what became of the requests so far, in the order of their ends.
        lags_s: how late each request was begun; of the program's own doing.
    """

    def __init__(self, port: int, start_s: float, patience_s: float) -> None:
        self._port = port
        self._start_s = start_s
        self._patience_s = patience_s
        self.browsers: dict[int, Browser] = {}
        self.samples: list[Sample] = []
        self.lags_s: list[float] = []

    async def run(self, planned: Iterable[Action]) -> None:
        """Do everything when it is due, and wait for the answers."""
        loop = asyncio.get_running_loop()
        async with asyncio.TaskGroup() as group:
            for action in planned:
                wait_s = self._start_s + action.due_s - loop.time()
                if wait_s > 0:
                    await asyncio.sleep(wait_s)
                self.lags_s.append(max(0.0, loop.time() - self._start_s - action.due_s))
                group.create_task(self._act(action))

    def browser(self, user: int) -> Browser:
        """Return a user's browser."""
        if user not in self.browsers:
            self.browsers[user] = Browser(user, self._port, self._start_s, self._patience_s)
        return self.browsers[user]

    def close(self) -> None:
        """Close all browsers."""
        for browser in self.browsers.values():
            browser.close()

    async def _act(self, action: Action) -> None:
        self.samples.append(await self.browser(action.user).act(action))

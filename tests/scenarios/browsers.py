"""Browsers that shop at the examples' shop, and one who kills its servers meanwhile.

A browser has a cookie jar, keeps its connections, and follows redirects. What it is told goes into
a `Tally`, which all browsers of a run share.
"""

from __future__ import annotations

import asyncio
import os
import re
import signal
from collections import Counter
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from email.message import Message
from email.parser import BytesParser
from http.cookiejar import CookieJar
from random import Random
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit
from urllib.request import Request

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Awaitable, Callable, Iterable, Mapping

TIMEOUT_S = 30.0
RETRY_S = 0.1
_PLACE = re.compile("This is replica ([A-Z]+), process ([0-9]+)")
_CART = re.compile("Your cart holds ([0-9]+)")


@dataclass
class Tally:
    """What all browsers of a run have met.

    Attributes:
        answers: by method and status; status 0 for a connection that ended within the answer.
        logged_out: pages that greeted nobody, by the name of who should have been greeted.
        cookies_set: responses with a Set-Cookie.
        on_page: called with the letter and process id of the replica that made a page.
    """

    answers: Counter[tuple[str, int]] = field(default_factory=Counter)
    logged_out: Counter[str] = field(default_factory=Counter)
    cookies_set: int = 0
    on_page: Callable[[str, int], None] = lambda _letter, _pid: None
    _answered: asyncio.Event = field(default_factory=asyncio.Event)

    @property
    def requests(self) -> int:
        """How many were answered, or cut."""
        return self.answers.total()

    async def more(self, count: int, method: str = "GET", status: int = 200) -> None:
        """Wait for so many more answers of a kind, as long as they keep coming."""
        for _ in range(count):
            before = self.answers[method, status]
            async with asyncio.timeout(TIMEOUT_S):
                while self.answers[method, status] == before:
                    self._answered.clear()
                    await self._answered.wait()

    def take(self, method: str, status: int) -> None:
        """Count an answer."""
        self.answers[method, status] += 1
        self._answered.set()

    def failed(self, method: str) -> Counter[int]:
        """Return the answers to a method that were failures, by status."""
        failures = {status: n for (each, status), n in self.answers.items() if each == method}
        return Counter({status: n for status, n in failures.items() if status >= 500 or status == 0})


class Browser:
    """One user's browser.

    Attributes:
        added: things put in the cart, where the shop has said so.
        perhaps: things of which nobody knows: the answer was a failure.
    """

    def __init__(self, url: str, name: str, tally: Tally) -> None:
        self.url = url
        self.name = name
        self._tally = tally
        self._jar = CookieJar()
        self._idle: list[tuple[asyncio.StreamReader, asyncio.StreamWriter]] = []
        self.added = 0
        self.perhaps = 0

    @property
    def cookies(self) -> dict[str, str]:
        """The jar, by name."""
        return {cookie.name: cookie.value or "" for cookie in self._jar}

    def restore(self, cookies: Mapping[str, str]) -> None:
        """Put cookies into the jar that were in it before."""
        head = Message()
        for name, value in cookies.items():
            head.add_header("Set-Cookie", f"{name}={value}; Path=/")
        self._jar.extract_cookies(_Response(head), Request(self.url))  # type: ignore[arg-type]

    async def log_in(self) -> bool:
        """Log in; whether the shop said so."""
        return await self._send("POST", "/login", f"name={self.name}") == 303 and await self.visit()

    async def log_out(self) -> bool:
        """Log out; whether the shop said so."""
        return await self._send("POST", "/logout", "") == 303

    async def visit(self) -> bool:
        """Open the front page; whether it greets this user."""
        _, body = await self._exchange("GET", "/", "")
        return f"Hello {self.name}" in body

    async def is_logged_out(self) -> bool:
        """Open the front page; whether it greets nobody."""
        before = self._tally.logged_out[self.name]
        return not await self.visit() and self._tally.logged_out[self.name] > before

    async def put_in_cart(self) -> None:
        """Put a thing in the cart, and see the page after it."""
        status = await self._send("POST", "/cart", "")
        if status == 303:
            self.added += 1
            await self.visit()
        elif status >= 500 or status == 0:
            self.perhaps += 1

    async def count_cart(self) -> int:
        """Return how many things the shop has in this user's cart."""
        async with asyncio.timeout(TIMEOUT_S):
            while True:
                _, body = await self._exchange("GET", "/", "")
                if found := _CART.search(body):
                    return int(found[1])

    async def close(self) -> None:
        """Close all connections."""
        while self._idle:
            _, writer = self._idle.pop()
            writer.close()
            await asyncio.gather(writer.wait_closed(), return_exceptions=True)

    async def _send(self, method: str, path: str, body: str) -> int:
        return (await self._exchange(method, path, body))[0]

    async def _exchange(self, method: str, path: str, body: str) -> tuple[int, str]:
        async with asyncio.timeout(TIMEOUT_S):
            try:
                status, head, text = await self._once(method, path, body)
            except (OSError, EOFError):
                status, head, text = 0, Message(), ""
        self._tally.take(method, status)
        if "Set-Cookie" in head:
            self._tally.cookies_set += 1
            self._jar.extract_cookies(_Response(head), Request(self.url + path))  # type: ignore[arg-type]
        self._look(method, status, text)
        if status == 503:
            await asyncio.sleep(RETRY_S)  # nobody reloads faster than that
        return status, text

    def _look(self, method: str, status: int, text: str) -> None:
        if method == "GET" and status == 200:
            if f"Hello {self.name}" not in text:
                self._tally.logged_out[self.name] += 1
            if place := _PLACE.search(text):
                self._tally.on_page(place[1], int(place[2]))
        elif status == 403:  # what the shop says to a visitor who has to log in
            self._tally.logged_out[self.name] += 1

    async def _once(self, method: str, path: str, body: str) -> tuple[int, Message, str]:
        reader, writer = self._idle.pop() if self._idle else await self._connect()
        try:
            writer.write(self._head(method, path, body) + body.encode())
            raw = await reader.readuntil(b"\r\n\r\n")
            first, _, rest = raw.partition(b"\r\n")
            head = BytesParser().parsebytes(rest, headersonly=True)
            content = await reader.readexactly(int(head["Content-Length"]))
        except BaseException:
            writer.close()
            raise
        if head.get("Connection", "") == "close":
            writer.close()
        else:
            self._idle.append((reader, writer))
        return int(first.split()[1]), head, content.decode()

    async def _connect(self) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
        address = urlsplit(self.url)
        return await asyncio.open_connection(address.hostname, address.port)

    def _head(self, method: str, path: str, body: str) -> bytes:
        request = Request(self.url + path)
        self._jar.add_cookie_header(request)
        cookie = request.get_header("Cookie")
        lines = [f"{method} {path} HTTP/1.1", f"Host: {urlsplit(self.url).netloc}"]
        lines += [f"User-Agent: Mozilla/5.0 ({self.name})"]
        lines += [f"Cookie: {cookie}"] if cookie else []
        if method == "POST":
            lines += ["Content-Type: application/x-www-form-urlencoded", f"Content-Length: {len(body)}"]
        return ("\r\n".join(lines) + "\r\n\r\n").encode()


class _Response:
    """What a cookie jar wants to see of a response."""

    def __init__(self, head: Message) -> None:
        self._head = head

    def info(self) -> Message:
        return self._head


class Killer:
    """Kills a replica at random whenever so many pages have been made since, but leaves two alive.

    Args:
        rng: with a fixed seed.
        every: pages from one kill to the next.
    """

    def __init__(self, rng: Random, every: int) -> None:
        self._rng = rng
        self._every = every
        self._alive: dict[str, int] = {}
        self._killed: set[int] = set()
        self._pages = 0
        self.is_on = False

    @property
    def kills(self) -> int:
        """How many replicas were killed."""
        return len(self._killed)

    def on_page(self, letter: str, pid: int) -> None:
        """Take note of who is alive, and kill when it is time."""
        if pid not in self._killed:
            self._alive[letter] = pid
        self._pages += 1
        if self.is_on and self._pages >= self._every and len(self._alive) > 2:
            self._pages = 0
            victim = self._rng.choice(sorted(self._alive))
            self._killed.add(self._alive[victim])
            os.kill(self._alive.pop(victim), signal.SIGKILL)


async def patiently(act: Callable[[], Awaitable[bool]]) -> None:
    """Do something until it works: a busy machine may make the store miss its deadline."""
    async with asyncio.timeout(TIMEOUT_S):
        while not await act():
            pass


@asynccontextmanager
async def shoppers(url: str, count: int, tally: Tally) -> AsyncIterator[list[Browser]]:
    """Open browsers and log in with each, under names of their own."""
    browsers = [Browser(url, f"user{number}", tally) for number in range(count)]
    try:
        for browser in browsers:
            await patiently(browser.log_in)
        yield browsers
    finally:
        for browser in browsers:
            await browser.close()


@asynccontextmanager
async def shopping(browsers: Iterable[Browser], pause_s: float = 0.02) -> AsyncIterator[None]:
    """Shop with all browsers while the body runs, and until each has finished its step.

    Args:
        pause_s: between two steps of a browser.
    """
    is_over = asyncio.Event()
    async with asyncio.TaskGroup() as group:
        for number, browser in enumerate(browsers):
            group.create_task(_shop(browser, Random(number), pause_s, is_over))
        yield
        is_over.set()


async def _shop(browser: Browser, rng: Random, pause_s: float, is_over: asyncio.Event) -> None:
    # Look at pages and put things in the cart, at times in several tabs at once.
    while not is_over.is_set():
        mood = rng.random()
        if mood < 0.1:
            await asyncio.gather(browser.put_in_cart(), browser.put_in_cart(), browser.visit())
        elif mood < 0.2:
            await browser.put_in_cart()
        else:
            await browser.visit()
        await asyncio.sleep(pause_s)


async def count_carts(browsers: Iterable[Browser]) -> dict[str, int]:
    """Return what is in all carts, and how much of it the shop had said, or left open.

    Raises:
        AssertionError: a thing is lost, or was put in twice.
    """
    total: Counter[str] = Counter()
    for browser in browsers:
        count = await browser.count_cart()
        assert browser.added <= count <= browser.added + browser.perhaps, browser.name
        total += Counter(in_carts=count, acknowledged=browser.added, without_answer=browser.perhaps)
    return dict(total)


def report(title: str, tally: Tally, **facts: Any) -> None:
    """Print the figures of a run; pytest -s shows them."""
    print(f"\n{title}: {tally.requests} requests, {tally.logged_out.total()} logged out")
    for method in ("GET", "POST"):
        by_status = {status: n for (each, status), n in sorted(tally.answers.items()) if each == method}
        print(f"  {method}: " + ", ".join(f"{n} x {status or 'cut'}" for status, n in by_status.items()))
    print("  " + ", ".join(f"{name.replace('_', ' ')} {value}" for name, value in facts.items()))

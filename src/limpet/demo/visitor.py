"""One simulated person: a browser with its own connections and cookie jar, and what it was told."""

from __future__ import annotations

import asyncio
import time
from enum import StrEnum
from typing import TYPE_CHECKING, NamedTuple, Protocol
from urllib.parse import unquote

import httpx

from limpet.demo.tally import Page

if TYPE_CHECKING:
    import ssl
    from random import Random

_NAMES = (  # noqa: SIM905  # forty strings would be no list to read
    "Ann Ben Cleo Dan Eva Finn Gail Hugo Iris Jon Kim Leo Mia Ned Olga Pia Quin Rosa Sam Tara Uma Vic Wes "
    "Xena Yuri Zoe Ada Bo Cem Dora Emil Fay Gus Hana Ivo Jill Karl Lina Max Nora"
).split()
_TIMEOUT_S = 30.0
#: How long somebody who was logged out looks at the page before logging in again.
_SURPRISE_S = 1.0


class Mood(StrEnum):
    """How things are with a person."""

    ARRIVING = "arriving"  # has not logged in yet
    IN = "in"
    OUT = "out"  # had logged in, and the last page did not know it
    WAITING = "waiting"  # the last page could not be had


class Place(NamedTuple):
    """The process of a server that gave an answer."""

    server: str
    process: str


class Watching(Protocol):
    """What is told of a person's fate."""

    def met(self, page: Page) -> None:
        """Note a page."""
        ...

    def logged_in(self) -> None:
        """Note a login."""
        ...

    def logged_out(self, name: str, home: Place, met: Place) -> None:
        """Note that somebody who had logged in at one place was not greeted at another."""
        ...

    def failed(self, name: str, status: int) -> None:
        """Note a page that could not be had."""
        ...


class Visitor:
    """One person, who reads a page now and then.

    Args:
        number: from 0; makes the name.
        url: of the shop.
        pause_s: between two pages, on average.

    Attributes:
        server: that answered last; "" before any did.
        arrived: set once they have logged in.
        mood: how things are.
    """

    def __init__(
        self, number: int, url: str, pause_s: float, rng: Random, watching: Watching, tls: ssl.SSLContext
    ) -> None:
        round_, place = divmod(number, len(_NAMES))
        self.number = number
        self.name = f"{_NAMES[place]} {round_ + 1}" if round_ else _NAMES[place]
        self.mood = Mood.ARRIVING
        self.server = ""
        self.arrived = asyncio.Event()
        self._url = url
        self._pause_s = pause_s
        self._rng = rng
        self._watching = watching
        self._tls = tls  # of no use here, and slow to make
        self._home: Place | None = None

    async def live(self, arrives_after_s: float, running: asyncio.Event) -> None:
        """Come, log in, and read pages for ever.

        Args:
            running: while it is not set, nothing is done.
        """
        await asyncio.sleep(arrives_after_s)
        # Browsers differ; two that are alike to the last header are taken for one that is in a hurry.
        headers = {"User-Agent": f"limpet-demo ({self.name})"}
        async with httpx.AsyncClient(
            base_url=self._url, headers=headers, verify=self._tls, trust_env=False, timeout=_TIMEOUT_S
        ) as browser:
            while True:
                await running.wait()
                await self._visit(browser)
                pause_s = self._pause_s * self._rng.uniform(0.5, 1.5)
                await asyncio.sleep(max(pause_s, _SURPRISE_S) if self.mood is Mood.OUT else pause_s)

    async def _visit(self, browser: httpx.AsyncClient) -> None:
        try:
            if self._home is None:
                answer = await browser.post("/login", data={"name": self.name})
                if answer.status_code != 303:
                    self._fail(answer.status_code)
                    return
                self._home = _place(answer)
                self._watching.logged_in()
                self.arrived.set()
            began_s = time.monotonic()
            page = await browser.get("/")
        except httpx.HTTPError:
            self._fail(0)
            return
        if page.status_code != 200:
            self._fail(page.status_code)
            return
        self._read(page, began_s)

    def _read(self, page: httpx.Response, began_s: float) -> None:
        now_s = time.monotonic()
        met = _place(page)
        self.server = met.server
        self._watching.met(Page(now_s, met.server, (now_s - began_s) * 1e3))
        if unquote(page.headers.get("Shop-User", "")) == self.name:
            self.mood = Mood.IN
            return
        home, self._home = self._home, None
        self.mood = Mood.OUT
        if home is not None:
            self._watching.logged_out(self.name, home, met)

    def _fail(self, status: int) -> None:
        self.mood = Mood.WAITING
        self._watching.failed(self.name, status)


def _place(answer: httpx.Response) -> Place:
    return Place(answer.headers.get("Shop-Server", ""), answer.headers.get("Shop-Process", ""))

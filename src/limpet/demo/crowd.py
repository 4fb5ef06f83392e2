"""All simulated people of one act."""

from __future__ import annotations

import asyncio
import ssl
from random import Random
from typing import TYPE_CHECKING

from limpet.demo.ending import end
from limpet.demo.visitor import Visitor

if TYPE_CHECKING:
    from limpet.demo.visitor import Watching

#: Pages a second that the people who are there from the beginning read together, however many they are.
BASE_PAGES_PER_S = 40.0
#: How many come with an influx, as a multiple of those who are there.
INFLUX_FACTOR = 1.5
#: How long an influx takes to arrive.
INFLUX_S = 1.5
#: And everybody else at the beginning of an act.
ARRIVAL_S = 1.0


class Crowd:
    """People who come, log in and read; `start` and `stop` for each act.

    Args:
        size: how many are there from the beginning.
        url: of the shop.

    Attributes:
        people: of this act.
        running: cleared while they pause.
    """

    def __init__(self, size: int, url: str) -> None:
        self.people: list[Visitor] = []
        self.running = asyncio.Event()
        self.running.set()
        self._size = size
        self._url = url
        self._pause_s = size / BASE_PAGES_PER_S
        self._rng = Random()  # noqa: S311  # when people refresh is no secret
        self._tls = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
        self._lives: list[asyncio.Task[None]] = []

    def start(self, watching: Watching) -> None:
        """Let the people of an act come, all with empty cookie jars."""
        self.people = []
        self.running.set()
        self._come(self._size, ARRIVAL_S, watching)

    def influx(self, watching: Watching) -> list[Visitor]:
        """Let many more come, and return them."""
        return self._come(max(round(self._size * INFLUX_FACTOR), 1), INFLUX_S, watching)

    async def stop(self) -> None:
        """Send everybody home."""
        await end(*self._lives)
        self._lives = []

    def _come(self, count: int, within_s: float, watching: Watching) -> list[Visitor]:
        for index in range(count):
            person = Visitor(len(self.people), self._url, self._pause_s, self._rng, watching, self._tls)
            self.people.append(person)
            arrives_s = within_s * index / count
            self._lives.append(asyncio.create_task(person.live(arrives_s, self.running)))
        return self.people[-count:]

"""Simulated time: what happens next is the earliest of what was planned; all chance comes from one seed."""

from __future__ import annotations

import heapq
import itertools
from random import Random
from typing import TYPE_CHECKING, Any

from limpet.core.clock import Now

if TYPE_CHECKING:
    from collections.abc import Callable

START_S = 1_000_000.0


class Simulation:
    """A clock, a plan, and dice."""

    def __init__(self, seed: int) -> None:
        self.rng = Random(seed)
        self.now_s = START_S
        self._plan: list[tuple[float, int, Callable[[], Any]]] = []
        self._numbers = itertools.count()

    @property
    def now(self) -> Now:
        """This instant, on both clocks of a balancer."""
        return Now(self.now_s, self.now_s)

    def clock(self) -> float:
        """Return the wall clock."""
        return self.now_s

    def entropy(self, size: int) -> bytes:
        """Return bytes that are the same for the same seed."""
        return self.rng.randbytes(size)

    def at(self, when_s: float, act: Callable[[], Any]) -> None:
        """Plan something."""
        heapq.heappush(self._plan, (when_s, next(self._numbers), act))

    def after(self, delay_s: float, act: Callable[[], Any]) -> None:
        """Plan something for later."""
        self.at(self.now_s + delay_s, act)

    def soon(self, act: Callable[[], Any]) -> None:
        """Plan something for when a message has arrived: mostly fast, now and then very slow."""
        self.after(self.delay_s(), act)

    def delay_s(self, often_slow: float = 0.08) -> float:
        """Return how long a message takes."""
        rng = self.rng
        return rng.uniform(0.1, 0.8) if rng.random() < often_slow else rng.uniform(0.001, 0.03)

    def run(self, until_s: float) -> None:
        """Let time pass."""
        while self._plan and self._plan[0][0] <= until_s:
            self.now_s, _, act = heapq.heappop(self._plan)
            act()
        self.now_s = until_s

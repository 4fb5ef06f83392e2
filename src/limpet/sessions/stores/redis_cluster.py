"""Links to a Cluster: each batch goes to the primary that has its slot, over that server's `Direct` link.

Where a slot lies is asked with CLUSTER SLOTS, and learnt from MOVED. While a slot is moved key by key,
ASK sends a command elsewhere for once, and TRYAGAIN means that a script's keys are on both sides: it is
tried again until the time is up. A server that does not answer is asked again where it was, after
the others were asked who has its slots now. The others' slots are not concerned.

`route` decides; the links do.

Source: Redis Cluster specification, "Redirection and resharding".
"""

from __future__ import annotations

import asyncio
import time
from functools import partial
from typing import TYPE_CHECKING, Any, NamedTuple, TypeAlias

from redis.crc import key_slot
from redis.exceptions import AskError, ClusterDownError, MovedError, RedisError, TryAgainError

from limpet.sessions.errors import StoreUnavailableError
from limpet.sessions.stores.in_time import Within, left_s
from limpet.sessions.stores.redis_links import AsyncDirect, Command, Direct, checked

if TYPE_CHECKING:
    from collections.abc import Callable, Generator, Iterable

    from limpet.sessions.stores.redis_connections import Address

#: Redirections and pauses of one batch; more than one is rare.
_MAX_HOPS = 20
_PAUSE_S = 0.01
_ASKING: Command = ("ASKING",)


class Exchange(NamedTuple):
    """Send commands to a server and return the replies, errors among them."""

    address: Address
    commands: list[Command]


class Pause(NamedTuple):
    """Wait a moment."""

    seconds: float


class Look(NamedTuple):
    """Ask who has which slots."""


Step: TypeAlias = Exchange | Pause | Look


class Slots:
    """Which primary has which slot, as far as is known. Used by one link only.

    Args:
        seeds: who may be asked at first.
        on_change: called when a slot may be elsewhere than was known.
    """

    def __init__(self, seeds: Iterable[Address], on_change: Callable[[], None] | None = None) -> None:
        self._on_change = on_change or (lambda: None)
        self._seeds = list(seeds)
        self._primaries: list[Address | None] = [None] * 16384
        self._silent: set[Address] = set()
        self.is_stale = True

    def address(self, slot: int) -> Address | None:
        """Return who has a slot."""
        return self._primaries[slot]

    def primaries(self) -> set[Address]:
        """Return everybody who has slots."""
        return {address for address in self._primaries if address is not None}

    def candidates(self) -> list[Address]:
        """Return whom to ask, those last that did not answer lately."""
        known = dict.fromkeys([*self.primaries(), *self._seeds])
        return sorted(known, key=lambda address: address in self._silent)

    def learn(self, reply: list[Any], asked: Address) -> None:
        """Take over the answer to CLUSTER SLOTS."""
        primaries: list[Address | None] = [None] * 16384
        for first, last, (host, port, *_), *_ in reply:
            # A server that does not know its own name leaves it out.
            name = (host or b"").decode()
            address = (name if name not in {"", "?"} else asked[0], int(port))
            primaries[first : last + 1] = [address] * (last + 1 - first)
        was, self._primaries, self.is_stale = self._primaries, primaries, False
        self._silent.discard(asked)
        if was != primaries and any(was):
            self._on_change()

    def moved(self, slot: int, address: Address) -> None:
        """Take note of a MOVED: there is more to learn."""
        self._primaries[slot], self.is_stale = address, True
        self._on_change()

    def asked(self) -> None:
        """Take note of an ASK: a slot is under way."""
        self._on_change()

    def failed(self, address: Address) -> None:
        """Take note of a server that did not answer."""
        self._silent.add(address)
        self.is_stale = True
        self._on_change()


def slot_of(batch: list[Command]) -> int:
    """Return the slot of a batch, whose keys are all of one."""
    first = batch[0]
    key = first[3] if first[0] in {"EVAL", "EVALSHA"} else first[1]
    slot: int = key_slot(key.encode())
    return slot


def route(batch: list[Command], slots: Slots) -> Generator[Step, list[Any], list[Any]]:
    """Get a batch answered, wherever its slot is; WAIT goes where the first command goes."""
    slot, wait = slot_of(batch), [each for each in batch if each[0] == "WAIT"]
    replies: dict[int, Any] = {}
    left = [at for at, each in enumerate(batch) if each[0] != "WAIT"]
    asked: dict[int, Address] = {}
    for _ in range(_MAX_HOPS):
        if slots.address(slot) is None or (slots.is_stale and replies == {}):
            yield Look()
        owner = slots.address(slot)
        if owner is None:
            raise StoreUnavailableError(f"no server of the Cluster has slot {slot}")
        for address in dict.fromkeys(asked.get(at, owner) for at in left):
            here = [at for at in left if asked.get(at, owner) == address]
            answers = yield Exchange(address, _commands(batch, here, wait, is_asking=here[0] in asked))
            if wait and 0 in here:
                replies[len(batch) - 1] = answers.pop()
            answers = answers[1::2] if here[0] in asked else answers
            replies |= dict(zip(here, answers, strict=True))
        left, asked = yield from _again(replies, left, slot, slots)
        if not left:
            break
    return [replies[at] for at in range(len(batch))]


def _commands(
    batch: list[Command], here: list[int], wait: list[Command], *, is_asking: bool
) -> list[Command]:
    commands = []
    for at in here:
        commands += [_ASKING, batch[at]] if is_asking else [batch[at]]
    return commands + wait if 0 in here else commands


def _again(
    replies: dict[int, Any], left: list[int], slot: int, slots: Slots
) -> Generator[Step, list[Any], tuple[list[int], dict[int, Address]]]:
    # Returns what must be sent again, and where if not to the slot's owner.
    again, asked, must_wait = [], {}, False
    for at in left:
        reply = replies[at]
        if isinstance(reply, MovedError):
            slots.moved(slot, (reply.host, reply.port))
        elif isinstance(reply, AskError):
            asked[at] = (reply.host, reply.port)
            slots.asked()
        elif isinstance(reply, TryAgainError):
            must_wait = True
        else:
            if isinstance(reply, ClusterDownError):
                slots.is_stale = True
            continue
        again.append(at)
    if must_wait:
        yield Pause(_PAUSE_S)
    return again, asked


class Cluster:
    """A Cluster for all threads.

    Args:
        make: returns a redis-py connection to a host and port.
        seeds: servers to begin with.
        on_change: as for `Slots`.
    """

    def __init__(
        self,
        make: Callable[..., Any],
        seeds: Iterable[Address],
        on_change: Callable[[], None] | None = None,
    ) -> None:
        self._make = make
        self.slots = Slots(seeds, on_change)
        self._links: dict[Address, Direct] = {}

    def send(self, batch: list[Command]) -> list[Any]:
        """Send commands together and return their replies."""
        flow = route(batch, self.slots)
        try:
            step = next(flow)
            while True:
                step = flow.send(self._perform(step))
        except StopIteration as stop:
            return checked(stop.value)

    def remove(self, pattern: str) -> None:
        """Remove every key that matches, on every primary."""
        self.look()
        for address in self.slots.primaries():
            self._link(address).remove(pattern)

    def close(self) -> None:
        """Close the connections that are not in use."""
        for link in list(self._links.values()):
            link.close()

    def _perform(self, step: Step) -> list[Any]:
        if isinstance(step, Exchange):
            try:
                return self._link(step.address).exchange(step.commands)
            except (OSError, RedisError):
                self.slots.failed(step.address)
                raise
        if isinstance(step, Pause):
            time.sleep(step.seconds)
        else:
            self.look()
        return []

    def look(self) -> None:
        """Ask who has which slots."""
        for address in self.slots.candidates():
            try:
                # One that hangs must leave time to ask another.
                with Within(left_s() / 2):
                    (reply,) = self._link(address).send([("CLUSTER", "SLOTS")])
            except (OSError, RedisError):
                self.slots.failed(address)
            else:
                self.slots.learn(reply, address)
                return
        raise StoreUnavailableError("no server of the Cluster answers")

    def _link(self, address: Address) -> Direct:
        host, port = address
        return self._links.setdefault(address, Direct(partial(self._make, host=host, port=port)))


class AsyncCluster:
    """`Cluster` for one event loop.

    Args:
        make, seeds, on_change: as there.
        timeout_s: how long commands that are sent together may take.
    """

    def __init__(
        self,
        make: Callable[..., Any],
        seeds: Iterable[Address],
        timeout_s: float,
        on_change: Callable[[], None] | None = None,
    ) -> None:
        self._make = make
        self._timeout_s = timeout_s
        self.slots = Slots(seeds, on_change)
        self._links: dict[Address, AsyncDirect] = {}

    async def send(self, batch: list[Command]) -> list[Any]:
        """Send commands together and return their replies."""
        flow = route(batch, self.slots)
        try:
            step = next(flow)
            while True:
                step = flow.send(await self._perform(step))
        except StopIteration as stop:
            return checked(stop.value)

    async def remove(self, pattern: str) -> None:
        """Remove every key that matches, on every primary."""
        await self.look()
        for address in self.slots.primaries():
            await self._link(address).remove(pattern)

    def close(self) -> None:
        """Close the connections that are not in use."""
        for link in self._links.values():
            link.close()

    async def _perform(self, step: Step) -> list[Any]:
        if isinstance(step, Exchange):
            try:
                return await self._link(step.address).exchange(step.commands)
            except (OSError, RedisError):
                self.slots.failed(step.address)
                raise
        if isinstance(step, Pause):
            await asyncio.sleep(step.seconds)
        else:
            await self.look()
        return []

    async def look(self) -> None:
        """Ask who has which slots."""
        for address in self.slots.candidates():
            try:
                (reply,) = await self._link(address).send([("CLUSTER", "SLOTS")])
            except (OSError, RedisError):
                self.slots.failed(address)
            else:
                self.slots.learn(reply, address)
                return
        raise StoreUnavailableError("no server of the Cluster answers")

    def _link(self, address: Address) -> AsyncDirect:
        if address not in self._links:
            host, port = address
            make = partial(self._make, host=host, port=port)
            self._links[address] = AsyncDirect(make, self._timeout_s)
        return self._links[address]

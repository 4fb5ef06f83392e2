"""A guard around a store: a deadline, one retry, and a breaker.

Whatever goes wrong inside becomes `StoreUnavailableError`: unknown, never "no such session". After
`_FAILURES` operations in a row without an answer from a server its breaker opens: requests fail at once
instead of waiting for what is down. Once in `_OPEN_S` one of them tries; an answer closes it.
"""

from __future__ import annotations

import asyncio
import math
import time
from typing import TYPE_CHECKING, Any, TypeVar

from limpet.sessions.errors import (
    NotReplicatedError,
    NotSupportedByStoreError,
    SessionTooLargeError,
    StoreUnavailableError,
    UndecodableError,
)

if TYPE_CHECKING:
    from collections.abc import Callable, Hashable

    from limpet.sessions.operations import Operation
    from limpet.sessions.stores import Finding, Store

A = TypeVar("A")
_FAILURES = 5
_OPEN_S = 1.0
#: An answer that takes longer makes an event loop prefer to wait without blocking.
_SLOW_S = 0.005
#: Answers that asking again would not change.
_FINAL = (NotSupportedByStoreError, SessionTooLargeError, UndecodableError)


class Breaker:
    """Decide whether an operation is worth a try. Times are monotonic seconds."""

    def __init__(self) -> None:
        self._failures = 0
        self._try_at_s = 0.0

    @property
    def is_open(self) -> bool:
        """Whether operations fail at once, but for a try now and then."""
        return self._failures >= _FAILURES

    def allows(self, now_s: float) -> bool:
        """Whether to try; with an open breaker one caller is told yes in `_OPEN_S`."""
        if not self.is_open:
            return True
        if now_s < self._try_at_s:
            return False
        self._try_at_s = now_s + _OPEN_S
        return True

    def failed(self, now_s: float) -> None:
        """Take note that the store did not answer."""
        self._failures += 1
        self._try_at_s = now_s + _OPEN_S

    def succeeded(self) -> None:
        """Take note of an answer."""
        self._failures = 0


class Guard:
    """A store that answers in time or says that it cannot tell.

    Args:
        store: whose blocking attempts time out by themselves after half the deadline, for nobody
            can stop them from outside.
        deadline_s: for an operation and its retry.
        mono_s: monotonic clock.
    """

    def __init__(
        self, store: Store, *, deadline_s: float = 0.25, mono_s: Callable[[], float] = time.monotonic
    ) -> None:
        self._store = store
        self._deadline_s = deadline_s
        self._mono_s = mono_s
        # One for each server: one that is down is no reason not to ask the others.
        self._breakers: dict[Hashable, Breaker] = {}
        self._took_s = 0.0

    @property
    def is_slow(self) -> bool:
        """Whether an event loop should not wait for this store in a blocking call."""
        return self._took_s > _SLOW_S or any(each.is_open for each in list(self._breakers.values()))

    def now_s(self) -> float:
        """Return the store's wall clock."""
        return self._store.now_s()

    @property
    def identity(self) -> str | None:
        """What tells the store from every other one; None as well if it does not say."""
        return getattr(self._store, "identity", None)

    def part(self, operation: Operation[Any]) -> Hashable:
        """Return which of several servers the operation concerns."""
        return self._store.part(operation)

    def run(self, operation: Operation[A]) -> A:
        """Perform an operation, blocking.

        Raises:
            StoreUnavailableError: not in time, not at all, or not in a way that makes sense.
            SessionError: an answer that asking again would not change.
        """
        breaker = self._breaker(operation)
        started_s = self._begin(breaker)
        try:
            return self._answered(breaker, started_s, self._store.run(operation))
        except Exception as error:  # noqa: BLE001  # whatever a client raises, it does not mean "no"
            self._raise_if_final(error)
        try:
            return self._answered(breaker, started_s, self._store.run(operation))
        except Exception as error:
            raise self._failed(breaker, error) from error

    async def arun(self, operation: Operation[A]) -> A:
        """Perform an operation without blocking the event loop; raises as `run` does."""
        breaker = self._breaker(operation)
        started_s = self._begin(breaker)
        try:
            async with asyncio.timeout(None if operation.is_bulk else self._deadline_s):
                try:
                    return self._answered(breaker, started_s, await self._store.arun(operation))
                except Exception as error:  # noqa: BLE001  # as above
                    self._raise_if_final(error)
                return self._answered(breaker, started_s, await self._store.arun(operation))
        except Exception as error:
            raise self._failed(breaker, error) from error

    def check(self) -> list[Finding]:
        """Return the store's findings."""
        return self._store.check()

    def close(self) -> None:
        """Close the store."""
        self._store.close()

    async def aclose(self) -> None:
        """Close the store."""
        await self._store.aclose()

    def _breaker(self, operation: Operation[A]) -> Breaker:
        part = self._store.part(operation)
        return self._breakers.get(part) or self._breakers.setdefault(part, Breaker())

    def _begin(self, breaker: Breaker) -> float:
        now_s = self._mono_s()
        if breaker.is_open and not breaker.allows(now_s):
            raise StoreUnavailableError("it has not answered lately; not asked again yet", is_news=False)
        return now_s

    def _answered(self, breaker: Breaker, started_s: float, answer: A) -> A:
        self._took_s = self._mono_s() - started_s
        breaker.succeeded()
        return answer

    def _raise_if_final(self, error: Exception) -> None:
        # An answer was given, and asking again would bring the same one.
        if isinstance(error, _FINAL):
            raise error

    def _failed(self, breaker: Breaker, error: Exception) -> Exception:
        if isinstance(error, _FINAL):
            return error
        if isinstance(error, NotReplicatedError):
            breaker.succeeded()  # it does answer, and reading needs no replica
            return error
        breaker.failed(self._mono_s())
        self._took_s = math.inf
        if isinstance(error, StoreUnavailableError):
            return error
        return StoreUnavailableError(f"{type(error).__name__}: {error}")

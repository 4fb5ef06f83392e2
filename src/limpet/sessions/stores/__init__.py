"""Stores by URL scheme. To add one: a file with a `Store` class, and a line in `STORES`.

A store performs operations (`limpet.sessions.operations`), each in one atomic step, blocking
(`run`) or not (`arun`). It knows neither cookies nor policies, and sees no id, only hashes. It
raises when it cannot tell; it never answers "nothing" because it could not look.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any, NamedTuple, Protocol, TypeVar, cast

from limpet.errors import ConfigError

if TYPE_CHECKING:
    from collections.abc import Hashable, Iterable

    from limpet.sessions.operations import Operation

A = TypeVar("A")
#: What every key in a store that apps share begins with.
NAMESPACE = "limpet:"
#: How long a server that is cut off from the store may serve a copy that has been changed or revoked.
MAX_STALE_S = 1.0


class Finding(NamedTuple):
    """Something about a store that can log users out.

    Attributes:
        id: never reused.
        severity: "error" or "warning".
        what: one sentence.
        fix: what to do.
    """

    id: str
    severity: str
    what: str
    fix: str


class Listener(Protocol):
    """Who keeps copies of what a store holds, and must hear of changes. Compared by identity."""

    def forget(self, sessions: Iterable[str], users: Iterable[str]) -> None:
        """Drop the copies of sessions, and of all sessions of users."""
        ...

    def forget_all(self) -> None:
        """Drop every copy."""
        ...

    def voided(self) -> None:
        """Drop every copy, for nobody vouches for them any longer."""
        ...


class Watch(Protocol):
    """Vouches for copies: a stamp that holds says that no change since then went untold."""

    def begin(self) -> object | None:
        """Return the stamp of what is read from now on; None while nobody vouches for it."""
        ...

    def holds(self, stamp: object) -> bool:
        """Whether copies of that stamp may be served."""
        ...


class Watchable(Protocol):
    """A store that tells of changes."""

    def watch(self, listener: Listener) -> Watch:
        """Return what vouches for copies; the listener is told of changes until it is gone."""
        ...


class Store(Protocol):
    """What every store does. Safe to use from several threads and event loops.

    One that tells of changes is `Watchable` as well.
    """

    def run(self, operation: Operation[A]) -> A:
        """Perform an operation, blocking.

        Raises:
            StoreUnavailableError: the store did not say.
            SessionTooLargeError: more than the store takes.
            NotSupportedByStoreError: this store cannot do that.
        """
        ...

    async def arun(self, operation: Operation[A]) -> A:
        """Perform an operation without blocking the event loop; raises as `run` does."""
        ...

    def now_s(self) -> float:
        """Return the store's wall clock, by which sessions live and die on every app server."""
        ...

    @property
    def identity(self) -> str | None:
        """What tells this store from every other one, wherever a process that reads it runs.

        None if no other process reads it; empty if that is not known yet.
        """
        ...

    def part(self, operation: Operation[Any]) -> Hashable:
        """Return which of several servers the operation concerns; they fail one by one."""
        ...

    def check(self) -> list[Finding]:
        """Return what is wrong with the store's configuration; for the start of a server."""
        ...

    def close(self) -> None:
        """Close all connections that are not in use."""
        ...

    async def aclose(self) -> None:
        """Close this event loop's connections."""
        ...


#: scheme -> module:class, imported when first used.
STORES = {
    "memory": "limpet.sessions.stores.memory:MemoryStore",
    "sqlite": "limpet.sessions.stores.sqlite:SqliteStore",
    "redis": "limpet.sessions.stores.redis:RedisStore",
    "rediss": "limpet.sessions.stores.redis:RedisStore",
    "valkey": "limpet.sessions.stores.redis:RedisStore",
    "valkeys": "limpet.sessions.stores.redis:RedisStore",
    "redis+sentinel": "limpet.sessions.stores.redis:RedisStore",
    "rediss+sentinel": "limpet.sessions.stores.redis:RedisStore",
    "redis+cluster": "limpet.sessions.stores.redis:RedisStore",
    "rediss+cluster": "limpet.sessions.stores.redis:RedisStore",
    "memcached": "limpet.sessions.stores.memcached:MemcachedStore",
}


def open_store(url: str, *, timeout_s: float = 0.125) -> Store:
    """Return the store of a URL; it connects when first used.

    Args:
        timeout_s: how long one attempt of an operation may take.

    Raises:
        ConfigError: an unknown scheme, a URL that makes no sense, or a client that is not installed.
    """
    scheme, has_scheme, _ = url.partition("://")
    if scheme not in STORES or not has_scheme:
        what = scheme if has_scheme else url  # after a scheme may come a password
        raise ConfigError([f"sessions.store: {what!r} is no kind of store; {_fix(what)}"])
    module, _, name = STORES[scheme].partition(":")
    try:
        cls: Any = getattr(import_module(module), name)
    except ImportError as error:
        extra = module.rpartition(".")[2]
        raise ConfigError(
            [f"sessions.store: {scheme!r} needs the package {error.name!r}; install it, or limpet[{extra}]"]
        ) from error
    try:
        return cast("Store", cls(url, timeout_s=timeout_s))
    except ValueError as error:
        # What it says may be a part of the password.
        problem = f"sessions.store: the host or the port of this {scheme}:// URL makes no sense"
        fix = "ports end at 65535, and # / ? @ in a password are written %23 %2F %3F %40"
        raise ConfigError([f"{problem}; {fix}"]) from error


def _fix(what: str) -> str:
    if what in STORES:
        return f"write {what}://" + ("" if what == "memory" else "...")
    path = f"for the file write sqlite:///{what}, or " if "/" in what or what.endswith(".db") else ""
    return f"{path}write one of {', '.join(STORES)}"

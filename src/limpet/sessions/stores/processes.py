"""Forks and the end of the process: no connection is used by two processes, none is left open.

A server that loads the app before it forks its workers (gunicorn --preload) may have used the store
already. Two processes that read from one socket take each other's answers: one user's session
becomes another's.
"""

from __future__ import annotations

import atexit
import os
from typing import Protocol
from weakref import WeakSet


class Forkable(Protocol):
    """A store that holds connections. Stores are compared by identity."""

    def before_fork(self) -> None:
        """Close what a child must not even inherit, and hold the locks."""
        ...

    def after_fork(self, *, is_child: bool) -> None:
        """Let go of the locks; in the child, forget every connection without a word to the server."""
        ...

    def close(self) -> None:
        """Close the connections that are not in use."""
        ...


_stores: WeakSet[Forkable] = WeakSet()


def watch(store: Forkable) -> None:
    """Tell a store when this process forks or ends."""
    _stores.add(store)


def _before() -> None:
    for store in list(_stores):
        store.before_fork()


def _in_parent() -> None:
    for store in list(_stores):
        store.after_fork(is_child=False)


def _in_child() -> None:
    for store in list(_stores):
        store.after_fork(is_child=True)


def _at_exit() -> None:
    for store in list(_stores):
        store.close()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(before=_before, after_in_parent=_in_parent, after_in_child=_in_child)
atexit.register(_at_exit)

"""Why somebody was logged out: what the demo knows of the server that had the login. Pure."""

from __future__ import annotations

from enum import StrEnum
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from limpet.demo.visitor import Place


class Cause(StrEnum):
    """Why a page did not know somebody who had logged in."""

    STRANGER = "stranger"  # another server answered, while the one with the login is well
    DIED = "died"  # the process with the login is gone
    DRAINED = "drained"  # the server with the login was taken out
    LOST = "lost"  # the shared store does not know the session


def find_cause(home: Place, met: Place, *, is_shared: bool, lives: bool, is_drained: bool) -> Cause:
    """Return why.

    Args:
        home: who has the login.
        met: who answered.
        is_shared: the login is in the shared store.
        lives: the process at `home` runs.
        is_drained: that server was taken out.
    """
    if is_shared or (home == met and lives):
        return Cause.LOST
    if not lives:
        return Cause.DIED
    if is_drained:
        return Cause.DRAINED
    return Cause.STRANGER


def tell(cause: Cause, name: str, home: Place, met: Place) -> str:
    """Return it as a sentence."""
    if cause is Cause.STRANGER:
        return f"{met.server} has never heard of {name}, who is logged in on {home.server}"
    if cause is Cause.DIED and home.server == met.server:
        return f"{home.server} was killed and came back with an empty memory"
    if cause is Cause.DIED:
        return f"{home.server} was killed, and {name}'s login was in its memory; {met.server} took over"
    if cause is Cause.DRAINED:
        return f"{home.server} was drained, and {name}'s login was in its memory; {met.server} took over"
    return f"{name}'s session is not found, though nothing happened to it"

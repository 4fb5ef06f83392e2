"""One act: a mode from its beginning, what has been done in it, and what came of it."""

from __future__ import annotations

import time
from collections import deque
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Literal, NamedTuple

from limpet.demo.causes import find_cause, tell
from limpet.demo.tally import Page, Tally

if TYPE_CHECKING:
    from limpet.demo.fleet import Fleet
    from limpet.demo.modes import Mode
    from limpet.demo.visitor import Place

Kind = Literal["event", "logout"]
_MAX_NOTES = 60


class Note(NamedTuple):
    """A line of the act's diary.

    Attributes:
        at_s: seconds since the act began.
    """

    at_s: float
    kind: Kind
    text: str


@dataclass(slots=True)
class Act:
    """An act; what the crowd is told to watch.

    Attributes:
        started_s: monotonic.
        had_influx: the crowd has come; it comes once in an act.
        stages: what goes on now ("influx", "silent store"), and why the figures are as they are.
        last_event: what was done last: "", "influx", "kill", "drain", "add" or "freeze".
        last_event_s: monotonic.
        commands: of the store in this act; None if it does not say.
    """

    mode: Mode
    fleet: Fleet
    started_s: float = field(default_factory=time.monotonic)
    had_influx: bool = False
    is_pouring: bool = False
    is_store_silent: bool = False
    last_event: str = ""
    last_event_s: float = 0.0
    commands: int | None = None
    tally: Tally = field(init=False)
    notes: deque[Note] = field(init=False)

    def __post_init__(self) -> None:
        self.tally = Tally(self.started_s)
        self.notes = deque(maxlen=_MAX_NOTES)

    def happened(self, event: str, text: str, for_s: float = 0.0) -> None:
        """Note something that was done, and that the load has to settle again."""
        now_s = time.monotonic()
        self.last_event, self.last_event_s = event, now_s
        self.tally.unsettle(now_s, for_s)
        self.note("event", text)

    def note(self, kind: Kind, text: str) -> None:
        """Write a line of the diary."""
        self.notes.append(Note(round(time.monotonic() - self.started_s, 1), kind, text))

    # what the people tell

    def met(self, page: Page) -> None:
        """Note a page."""
        self.tally.page(page)

    def logged_in(self) -> None:
        """Note a login."""
        self.tally.logins += 1

    def logged_out(self, name: str, home: Place, met: Place) -> None:
        """Note that somebody who had logged in was not greeted, and find out why."""
        cause = find_cause(
            home,
            met,
            is_shared=self.mode.sessions == "store",
            lives=self.fleet.lives(home.server, home.process),
            is_drained=home.server in self.fleet.drained,
        )
        self.tally.logout(cause.value, time.monotonic())
        self.note("logout", f"{name} is logged out: {tell(cause, name, home, met)}.")

    def failed(self, name: str, status: int) -> None:
        """Note a page that could not be had."""
        del name, status
        self.tally.failures += 1

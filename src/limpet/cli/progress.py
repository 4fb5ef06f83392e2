"""Progress of long commands, on standard error: a live line on a terminal, a line per phase elsewhere."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING

from rich.console import Console

from limpet.cli.output import say

if TYPE_CHECKING:
    from types import TracebackType
    from typing import Self

    from rich.status import Status


class Progress:
    """Says what is being done, and how much of the budget is used."""

    def __init__(self, *, is_quiet: bool) -> None:
        self._is_quiet = is_quiet
        self._phase = "starting"
        self._used, self._budget = 0, 0
        self._status: Status | None = None
        if not is_quiet and sys.stderr.isatty():
            self._status = Console(stderr=True).status("starting")

    def __enter__(self) -> Self:
        if self._status is not None:
            self._status.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._status is not None:
            self._status.stop()

    def phase(self, name: str) -> None:
        """Say what begins."""
        self._phase = name
        if self._status is not None:
            self._update()
        elif not self._is_quiet:
            used = f" ({self._used} of {self._budget} requests used)" if self._budget else ""
            say(f"{name}{used}")

    def requests(self, used: int, budget: int) -> None:
        """Say how much of the budget is used."""
        self._used, self._budget = used, budget
        if self._status is not None:
            self._update()

    def _update(self) -> None:
        if self._status is not None:
            used = f"  [dim]{self._used} of {self._budget} requests[/]" if self._budget else ""
            self._status.update(f"{self._phase}{used}")

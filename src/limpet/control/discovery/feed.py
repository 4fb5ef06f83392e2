"""One source of one group: what it said last, and how it goes.

Theory of operation. A feed's task runs `watch`, which reports to the feed. What is found replaces
what was known; a failure leaves it alone and is told once, until the next success. Answers of DNS
may be a part of the truth (a rotated subset, a record that was gone for a moment), so a target
that one of them leaves out *lingers*: for the group's deregistration delay it is known as one that
terminates, keeps its sessions as long as it serves, and is as before if a later answer has it.
Files and Kubernetes say exactly who is there, so whom they leave out is gone.
"""

from __future__ import annotations

import asyncio
import time
from dataclasses import replace
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

from limpet.control.discovery import source
from limpet.control.supervise import supervise

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from limpet.config.discovery_schema import DiscoverySettings
    from limpet.control.discovery.contract import LookUp
    from limpet.core.target import Target

_LINGERING = frozenset({"dns", "srv"})


class Feed:
    """A running source.

    Args:
        settings: of the source.
        look_up: of names.
        on_change: called when `targets` has changed.
        on_message: gets sentences for the operator.

    Attributes:
        targets: what is known, in the source's order, those that linger last.
        has_reported: set once the source has said anything.
    """

    def __init__(
        self,
        settings: DiscoverySettings,
        look_up: LookUp,
        on_change: Callable[[], None],
        on_message: Callable[[str], None],
    ) -> None:
        self.settings = settings
        self.targets: dict[str, Target] = {}
        self.has_reported = asyncio.Event()
        self._look_up = look_up
        self._on_change = on_change
        self._on_message = on_message
        self._interval_s = 0.0
        self._delay_s = 0.0
        self._lingering: dict[str, float] = {}  # id -> monotonic time of its end
        self._succeeded_s: float | None = None  # wall
        self._failed_s: float | None = None  # wall
        self._error: str | None = None
        self._is_failing = False
        self._task: asyncio.Task[None] | None = None

    def run(self, interval_s: float, delay_s: float) -> None:
        """Begin, or go on with another interval.

        Args:
            interval_s: between two looks at most.
            delay_s: how long a target lingers.
        """
        self._delay_s = delay_s
        if self._task is not None and interval_s == self._interval_s:
            return
        self.stop()
        self._interval_s = interval_s
        self._task = asyncio.create_task(supervise(self._watch, self._on_message))

    def stop(self) -> None:
        """End; nothing is reported any more."""
        if self._task is not None:
            self._task.cancel()

    def tick(self) -> None:
        """Let time pass: lingering ends."""
        now_s = time.monotonic()
        over = [target_id for target_id, ends_s in self._lingering.items() if now_s >= ends_s]
        for target_id in over:
            del self._lingering[target_id], self.targets[target_id]
        if over:
            self._on_change()

    def found(self, targets: Sequence[Target], missing: str = "") -> None:
        """Take over what the source has found; see `contract.Report`."""
        if not targets:
            self.failed(missing or "it names no target")
            return
        self._succeeded_s = time.time()
        if missing:
            self._fail(missing)
        elif self._is_failing:
            self._is_failing = False
            self._on_message(f"{self}: answers again")
        before, self.targets = self.targets, self._with_lingering(targets)
        self.has_reported.set()
        if self.targets != before:
            self._on_change()

    def failed(self, reason: str) -> None:
        """Note that the source cannot tell; see `contract.Report`."""
        self._fail(reason)
        self.has_reported.set()

    def describe(self) -> dict[str, Any]:
        """Return what `limpet status` tells, as JSON-able values."""
        return {
            "source": str(self),
            "targets": len(self.targets),
            "is_failing": self._is_failing,
            "last_success": _time(self._succeeded_s),
            "last_error": self._error,
            "last_error_at": _time(self._failed_s),
        }

    def __str__(self) -> str:
        settings = self.settings
        what = {
            "dns": settings.name,
            "srv": settings.name,
            "file": settings.path,
            "kubernetes": f"{settings.namespace or '(own namespace)'}/{settings.service}",
        }
        return f"{settings.type} {what[settings.type]}"

    async def _watch(self) -> None:
        await source(self.settings.type)(self.settings, self._interval_s, self, self._look_up)

    def _with_lingering(self, targets: Sequence[Target]) -> dict[str, Target]:
        listed = {target.id: target for target in targets}
        now_s = time.monotonic()
        gone = self.targets.keys() - listed.keys() if self.settings.type in _LINGERING else set()
        ends = {target_id: self._lingering.get(target_id, now_s + self._delay_s) for target_id in gone}
        self._lingering = {target_id: ends_s for target_id, ends_s in ends.items() if ends_s > now_s}
        # In the order known so far.
        for target_id in [known for known in self.targets if known in self._lingering]:
            listed[target_id] = replace(self.targets[target_id], is_terminating=True)
        return listed

    def _fail(self, reason: str) -> None:
        self._failed_s = time.time()
        self._error = reason
        if not self._is_failing:
            self._is_failing = True
            self._on_message(f"{self}: {reason}; {len(self.targets)} known targets stay as they are")


def _time(wall_s: float | None) -> str | None:
    return None if wall_s is None else datetime.fromtimestamp(wall_s, UTC).isoformat(timespec="seconds")

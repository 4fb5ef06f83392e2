"""Targets given by a file that others write; it is read again when it changes.

A file that cannot be read, or has a mistake in it (perhaps because it is half written), changes
nothing.
"""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

from limpet.config.target_file import read_targets
from limpet.control.file_watch import INTERVAL_S, mark
from limpet.errors import ConfigError

if TYPE_CHECKING:
    from limpet.config.discovery_schema import DiscoverySettings
    from limpet.control.discovery.contract import LookUp, Report


async def watch(settings: DiscoverySettings, interval_s: float, report: Report, look_up: LookUp) -> None:
    """Report the targets that a file lists."""
    del interval_s, look_up
    path = settings.path
    assert path is not None  # noqa: S101  # validated
    before = None
    is_first = True
    while True:
        now = mark(path)  # before it is read: what is written meanwhile is seen next time
        # While it is missing nothing is said: a replacement may have two steps.
        if is_first or (now is not None and now != before):
            try:
                report.found(read_targets(path))
            except ConfigError as error:
                report.failed("; ".join(error.problems))
        before = now or before
        is_first = False
        await asyncio.sleep(INTERVAL_S)

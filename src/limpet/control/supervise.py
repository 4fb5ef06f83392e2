"""Background tasks outlive a bug: it is told, and the task begins again."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable, Coroutine

_PAUSE_S = 1.0


async def supervise(
    work: Callable[[], Coroutine[None, None, None]],
    on_message: Callable[[str], None],
    *,
    pause_s: float = _PAUSE_S,
) -> None:
    """Run work that never ends; if it fails, tell so and run it again.

    Args:
        on_message: gets a sentence for the operator.
        pause_s: seconds until the next try.
    """
    while True:
        try:
            await work()
        except Exception as error:  # noqa: BLE001  # whatever it is, the balancer goes on
            place = error.__traceback__
            while place is not None and place.tb_next is not None:
                place = place.tb_next
            where = f"{place.tb_frame.f_code.co_name}, line {place.tb_lineno}" if place is not None else "?"
            on_message(f"a bug in limpet, please report it: {error!r} in {where}")
        await asyncio.sleep(pause_s)

"""The end of tasks."""

from __future__ import annotations

import asyncio

_AGAIN_S = 0.5


async def end(*tasks: asyncio.Task[None]) -> None:
    """Cancel tasks until they have ended.

    Once is not enough: a client library whose own timeout runs out at that very moment makes a timeout of
    the cancellation, and its caller goes on.
    """
    left = {task for task in tasks if not task.done()}
    while left:
        for task in left:
            task.cancel()
        _, left = await asyncio.wait(left, timeout=_AGAIN_S)

"""The process of the demo: a stage from start to end, for a table or for a page."""

from __future__ import annotations

import asyncio
import contextlib
import secrets
import signal
from dataclasses import dataclass
from typing import TYPE_CHECKING

import uvloop

from limpet.core.address import parse_address
from limpet.demo.headless import tell_story
from limpet.demo.page import PageServer
from limpet.demo.stage import Stage

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable, Coroutine, Sequence

    from limpet.demo.headless import Row

_SECRET_BYTES = 32


@dataclass(frozen=True, slots=True, kw_only=True)
class Options:
    """What was asked for.

    Attributes:
        listen: HOST:PORT of the page.
        shop: HOST:PORT of the shop.
        admin: HOST:PORT of the balancer's admin listener.
        people: how many are there from the beginning.
    """

    listen: str
    shop: str
    admin: str
    people: int


def run_headless(
    options: Options,
    modes: Sequence[str],
    watch_s: float,
    on_row: Callable[[Row], None],
    on_message: Callable[[str], None],
) -> None:
    """Tell the story, one row after the other; a signal ends it early.

    Raises:
        ConfigError: an address cannot be bound.
        ReplicaError: a server could not be started.
    """

    async def story() -> None:
        async with _stage(options, 0, on_message) as stage:
            if stage.store.note:
                on_message(stage.store.note)
            async for row in tell_story(stage, modes, watch_s):
                on_row(row)

    uvloop.run(_unless_stopped(story()))


def run_page(
    options: Options, on_ready: Callable[[Stage, PageServer], None], on_message: Callable[[str], None]
) -> None:
    """Serve the page until a signal ends it.

    Raises:
        ConfigError: an address cannot be bound.
        ReplicaError: a server could not be started.
    """

    async def serve() -> None:
        page = PageServer(parse_address(options.listen))
        try:
            async with _stage(options, page.port, on_message) as stage, page.serving(stage):
                on_ready(stage, page)
                await asyncio.Event().wait()
        finally:
            page.close()

    uvloop.run(_unless_stopped(serve()))


@contextlib.asynccontextmanager
async def _stage(options: Options, page_port: int, on_message: Callable[[str], None]) -> AsyncIterator[Stage]:
    secret = secrets.token_urlsafe(_SECRET_BYTES)
    stage = Stage(options.shop, options.admin, options.people, page_port, secret, on_message)
    try:
        await stage.start()
        yield stage
    finally:
        await stage.stop()


async def _unless_stopped(work: Coroutine[None, None, None]) -> None:
    task = asyncio.ensure_future(work)
    loop = asyncio.get_running_loop()
    is_stopping = False

    def stop() -> None:
        nonlocal is_stopping
        is_stopping = True
        task.cancel()

    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, stop)
    try:
        await task
    except asyncio.CancelledError:
        if not is_stopping:
            raise

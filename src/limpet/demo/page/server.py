"""The server of the page: it is bound before the stage starts, for the shop has to know its port."""

from __future__ import annotations

import asyncio
import contextlib
from typing import TYPE_CHECKING

from limpet.control import sockets
from limpet.control.web_server import WebServer
from limpet.demo.guide import Guide
from limpet.demo.page.api import application
from limpet.demo.page.feed import Feed
from limpet.errors import ConfigError

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from limpet.core.address import Address
    from limpet.demo.stage import Stage


class PageServer:
    """Listens from the beginning, and answers within `serving`.

    Raises:
        ConfigError: the address cannot be bound.
    """

    def __init__(self, address: Address) -> None:
        try:
            self._sockets = sockets.listen(address)
        except OSError as error:
            reason = error.strerror or str(error)
            raise ConfigError([f"--listen: {address} cannot be bound ({reason}); choose another"]) from None
        self.bound = sockets.bound_address(address, self._sockets)

    @property
    def port(self) -> int:
        """Where it listens."""
        return self.bound.port or 0

    @property
    def url(self) -> str:
        """What to open in a browser on this machine."""
        host = {"0.0.0.0": "127.0.0.1", "::": "[::1]"}.get(self.bound.host or "")
        return f"http://{host}:{self.port}" if host else f"http://{self.bound}"

    @contextlib.asynccontextmanager
    async def serving(self, stage: Stage) -> AsyncIterator[None]:
        """Serve a stage's page."""
        guide = Guide(stage)
        feed = Feed(stage, guide)
        server = WebServer(application(stage, guide, feed))
        task = asyncio.create_task(server.serve(sockets=self._sockets))
        try:
            await server.ready.wait()
            yield
        finally:
            guide.stop()
            await feed.close()
            server.should_exit = True
            await task

    def close(self) -> None:
        """Stop listening."""
        sockets.close(self._sockets)

"""The server of the admin API: it listens, and begins and ends with the balancer."""

from __future__ import annotations

import asyncio
from functools import partial
from typing import TYPE_CHECKING

from limpet.control import sockets
from limpet.control.admin.api import application
from limpet.control.admin.guard import Guard, read_token
from limpet.control.admin.status import status
from limpet.control.dashboard import pages
from limpet.control.dashboard.feed import Feed
from limpet.control.web_server import WebServer
from limpet.errors import ConfigError

if TYPE_CHECKING:
    import socket
    from collections.abc import Awaitable, Callable

    from limpet.control.balancer import Balancer
    from limpet.control.inherited import Inherited
    from limpet.core.address import Address


class AdminServer:
    """The admin listener of a balancer.

    Attributes:
        bound: where it listens.
        sockets: that it listens on.
        feed: of the dashboard and `limpet top`.
        on_upgrade: replaces this process and returns the successor's id; None if that is not possible.
    """

    def __init__(self, balancer: Balancer) -> None:
        self.sockets: list[socket.socket] = []
        self.on_upgrade: Callable[[], Awaitable[int]] | None = None
        self._balancer = balancer
        self._is_read_only = balancer.settings.admin.read_only
        self.feed = Feed(balancer, partial(status, balancer), balancer.tell, is_read_only=self._is_read_only)
        self._server: WebServer | None = None
        self._task: asyncio.Task[None] | None = None
        self.bound: Address | None = None

    async def start(self, address: Address, inherited: Inherited | None = None) -> None:
        """Listen.

        Raises:
            ConfigError: the address cannot be bound, or the token cannot be read.
        """
        token = read_token(self._balancer.settings.admin)
        try:
            listening = inherited.claim(address) if inherited is not None else []
            listening = listening or sockets.listen(address, is_private=True)
        except OSError as error:
            reason = error.strerror or str(error)
            raise ConfigError(
                [f"admin.address: {address} cannot be bound ({reason}); choose another"]
            ) from None
        self.bound = sockets.bound_address(address, listening)
        self.sockets = listening
        self._server = WebServer(
            Guard(
                application(self._balancer, self),
                self.bound,
                token,
                is_read_only=self._is_read_only,
                pages=pages.PATHS,
            )
        )
        self._task = asyncio.create_task(self._server.serve(sockets=listening))

    async def stop(self, *, is_handed_over: bool = False) -> None:
        """Stop listening.

        Args:
            is_handed_over: another process goes on; a Unix socket's file stays.
        """
        self.feed.end()
        if self._server is not None and self._task is not None:
            self._server.should_exit = True
            await self._task
            self._server = None
            if self.bound is not None and not is_handed_over:
                sockets.close((), self.bound.path)

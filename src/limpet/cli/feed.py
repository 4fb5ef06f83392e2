"""Reads the feed of a running limpet's admin listener, and finds it again when it was away."""

from __future__ import annotations

import http.client
import json
import time
from typing import TYPE_CHECKING, Any

from limpet.cli.admin_client import AdminRefusal

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from limpet.cli.admin_client import AdminClient

_EVENT = b"data: "
#: Frames come once a second, or a little slower from a balancer that has much to do.
_SILENT_S = 15.0
#: So long another process may take to take over, or limpet to start again.
_PATIENCE_S = 5.0
_PAUSE_S = 0.5


class FeedLostError(Exception):
    """Nobody answers any more; the message is for the operator."""


def frames(client: AdminClient, on_pause: Callable[[], None] = lambda: None) -> Iterator[dict[str, Any]]:
    """Give what the admin listener shows, again and again.

    Args:
        on_pause: called when limpet does not answer for the moment.

    Raises:
        FeedLostError: it cannot be reached, or not any more.
        AdminRefusal: it does not let us watch.
    """
    seen_s: float | None = None
    while True:
        try:
            for frame in _connection(client):
                seen_s = time.monotonic()
                yield frame
        except (OSError, http.client.HTTPException, ValueError) as error:
            if seen_s is None or time.monotonic() - seen_s > _PATIENCE_S:
                raise FeedLostError(client.unreachable(error)) from None
        on_pause()
        time.sleep(_PAUSE_S)


def _connection(client: AdminClient) -> Iterator[dict[str, Any]]:
    connection, response = client.open("GET", "/events", timeout_s=_SILENT_S)
    try:
        if response.status != 200:
            raise AdminRefusal(response.status, json.loads(response.read()))
        while line := response.readline():
            if line.startswith(_EVENT):
                yield json.loads(line[len(_EVENT) :])
    finally:
        connection.close()

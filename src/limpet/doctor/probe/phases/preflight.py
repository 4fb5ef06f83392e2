"""Phase 0: names and addresses. Nothing but the name server is asked."""

from __future__ import annotations

import asyncio
import socket
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

from limpet.doctor.cookie_jar import is_loopback
from limpet.doctor.evidence import Preflight
from limpet.doctor.probe.safety import origin_of

if TYPE_CHECKING:
    from limpet.doctor.probe.run import Run


async def preflight(run: Run) -> None:
    """Look the site's name up."""
    run.tell("looking the name up")
    host = (urlsplit(run.url).hostname or "").lower()
    addresses = run.plan.addresses
    if not addresses and not is_loopback(host):
        addresses = await _addresses(host, origin_of(run.url).port)
    run.record.preflight = Preflight(
        host=host, is_https=urlsplit(run.url).scheme == "https", addresses=addresses
    )


async def _addresses(host: str, port: int) -> tuple[str, ...]:
    try:
        found = await asyncio.get_running_loop().getaddrinfo(host, port, type=socket.SOCK_STREAM)
    except OSError:
        return ()  # the first request says so
    return tuple(dict.fromkeys(str(each[4][0]) for each in found))

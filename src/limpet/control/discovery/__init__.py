"""Where targets come from that the configuration does not list.

Theory of operation. A *source* is one file with a function `watch`; it reports, again and again,
the full list of targets that it knows, or why it cannot tell. A `Feed` runs one source for one
target group and remembers what it said last: a source that fails, or names nobody, changes nothing.
`Membership` joins a group's feeds with its static targets and hands on the differences. All of it
runs in control; workers see the snapshots that come of it.

To add a source: a file, a line in `SOURCES`, its settings in `config.discovery_schema`.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from limpet.control.discovery.contract import Watch
    from limpet.control.discovery.resolver import Addresses

# All are imported when first used: who needs no DNS loads no resolver.
#: type -> module.
SOURCES = {
    "dns": "limpet.control.discovery.dns",
    "srv": "limpet.control.discovery.srv",
    "file": "limpet.control.discovery.file",
    "kubernetes": "limpet.control.discovery.kubernetes",
}


def source(kind: str) -> Watch:
    """Return the `watch` of a kind of source."""
    watch: Watch = import_module(SOURCES[kind]).watch
    return watch


async def look_up(name: str, servers: tuple[str, ...]) -> Addresses:
    """Return the addresses of a name; see `resolver.look_up`."""
    found: Addresses = await import_module("limpet.control.discovery.resolver").look_up(name, servers)
    return found

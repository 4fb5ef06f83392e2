"""What a source of targets is asked, and how it answers."""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Sequence

    from limpet.config.discovery_schema import DiscoverySettings
    from limpet.control.discovery.resolver import Addresses
    from limpet.core.target import Target

    #: Of a name and the DNS servers to ask (none: the system's).
    LookUp = Callable[[str, tuple[str, ...]], Awaitable[Addresses]]


class DiscoveryError(Exception):
    """A source cannot tell; the text says why, in a few words."""


class Report(Protocol):
    """How a source answers."""

    def found(self, targets: Sequence[Target], missing: str = "") -> None:
        """Say which targets there are: all of them, in an order that stays; none counts as a failure.

        Args:
            missing: what could not be told, and why; "" if that is all.
        """
        ...

    def failed(self, reason: str) -> None:
        """Say that it cannot be told now."""
        ...


class Watch(Protocol):
    """Reports targets until it is cancelled."""

    async def __call__(
        self, settings: DiscoverySettings, interval_s: float, report: Report, look_up: LookUp
    ) -> None:
        """Report targets.

        Args:
            interval_s: the longest time between two looks, for a source that has to look.
        """
        ...

"""The host that a request asks for."""

from __future__ import annotations

from typing import TYPE_CHECKING

from limpet.core.rules.patterns import Patterns

if TYPE_CHECKING:
    from limpet.core.rules.subject import Subject


class Host:
    """Holds if the host matches one of the patterns; port, letter case and a final dot do not count.

    Source: ALB's `host-header`; RFC 9110 section 4.2.3 for the letter case.
    """

    kind = "host"
    is_of_line = True
    __slots__ = ("patterns",)

    def __init__(self, patterns: tuple[str, ...]) -> None:
        self.patterns = Patterns(tuple(pattern.removesuffix(".") for pattern in patterns))

    def holds(self, subject: Subject) -> bool:
        """Return whether the host is one of these."""
        return bool(subject.host) and subject.host in self.patterns

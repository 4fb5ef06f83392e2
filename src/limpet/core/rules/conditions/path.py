"""The path that a request asks for, as a whole."""

from __future__ import annotations

from typing import TYPE_CHECKING

from limpet.core.rules.patterns import Patterns

if TYPE_CHECKING:
    from limpet.core.rules.subject import Subject


class Path:
    """Holds if the path, as `reading` reads it, matches one of the patterns; `*` matches `/` too.

    Source: ALB's `path-pattern`, but for the letter case, which does not count here.
    """

    kind = "path"
    is_of_line = True
    __slots__ = ("patterns",)

    def __init__(self, patterns: tuple[str, ...]) -> None:
        self.patterns = Patterns(patterns)

    def holds(self, subject: Subject) -> bool:
        """Return whether the path is one of these."""
        return subject.path in self.patterns

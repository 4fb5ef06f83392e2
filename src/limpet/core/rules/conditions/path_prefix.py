"""The part of a site that a request asks for."""

from __future__ import annotations

from typing import TYPE_CHECKING
from unicodedata import normalize

if TYPE_CHECKING:
    from limpet.core.rules.subject import Subject


class PathPrefix:
    """Holds for a path and everything below it: `/admin` for `/admin/x`, not for `/administrator`.

    Source: `PathPrefix` of the Kubernetes Gateway API, but for the letter case.
    """

    kind = "path_prefix"
    is_of_line = True
    __slots__ = ("_below", "prefixes")

    def __init__(self, prefixes: tuple[str, ...]) -> None:
        self.prefixes = frozenset(normalize("NFC", prefix).casefold().rstrip("/") for prefix in prefixes)
        self._below = tuple(f"{prefix}/" for prefix in self.prefixes)

    def holds(self, subject: Subject) -> bool:
        """Return whether the path is in one of these parts."""
        return subject.path.startswith(self._below) or subject.path in self.prefixes

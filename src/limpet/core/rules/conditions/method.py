"""The method of a request."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from limpet.core.rules.subject import Subject


class Method:
    """Holds if the method is one of these. HEAD is not GET. Source: RFC 9110 section 9.1."""

    kind = "method"
    is_of_line = True
    __slots__ = ("methods",)

    def __init__(self, methods: tuple[str, ...]) -> None:
        self.methods = frozenset(method.encode() for method in methods)

    def holds(self, subject: Subject) -> bool:
        """Return whether the method is one of these."""
        return subject.request.method in self.methods

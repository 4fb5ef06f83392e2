"""Header fields of a request."""

from __future__ import annotations

from typing import TYPE_CHECKING

from limpet.core.rules.patterns import Patterns

if TYPE_CHECKING:
    from collections.abc import Mapping

    from limpet.core.rules.subject import Subject


class Header:
    """Holds if each field named has a value that matches one of its patterns.

    A field is seen as the target sees it: not if limpet drops it, and `X_A` counts as `X-A`, because
    WSGI and CGI cannot tell them apart. Letter case does not count. Source: ALB's `http-header`.
    """

    kind = "header"
    is_of_line = False
    __slots__ = ("by_name",)

    def __init__(self, by_name: Mapping[str, tuple[str, ...]]) -> None:
        self.by_name = {
            name.lower().replace("_", "-").encode(): Patterns(texts) for name, texts in by_name.items()
        }

    def holds(self, subject: Subject) -> bool:
        """Return whether the fields are there."""
        fields = subject.request.fields
        for name, patterns in self.by_name.items():
            for text in fields.texts(name):
                if text in patterns:
                    break
            else:
                return False
        return True

"""Parameters in a request's query."""

from __future__ import annotations

from typing import TYPE_CHECKING
from urllib.parse import parse_qsl

from limpet.core.rules.patterns import Patterns
from limpet.errors import ErrorKind, ProtocolError

if TYPE_CHECKING:
    from collections.abc import Mapping

    from limpet.core.rules.subject import Subject


#: Parameters of one request, as Django takes them by default; more cost milliseconds each time.
MAX_PARAMETERS = 1000


class Query:
    """Holds if each parameter named has a value that matches one of its patterns.

    Of several parameters of a name, one is enough. Letter case does not count, in names neither.
    Source: ALB's `query-string`.
    """

    kind = "query"
    is_of_line = True
    __slots__ = ("by_name",)

    def __init__(self, by_name: Mapping[str, tuple[str, ...]]) -> None:
        self.by_name = {name.casefold(): Patterns(texts) for name, texts in by_name.items()}

    def holds(self, subject: Subject) -> bool:
        """Return whether the parameters are there."""
        query = subject.request.path.partition(b"?")[2]
        if not query:
            return False
        if query.count(b"&") >= MAX_PARAMETERS:
            raise ProtocolError(ErrorKind.BAD_REQUEST, "the query has too many parameters to look at")
        pairs = [
            (name.casefold(), value.casefold())
            for name, value in parse_qsl(query.decode("latin-1"), keep_blank_values=True)
        ]
        return all(
            any(name == wanted and value in patterns for name, value in pairs)
            for wanted, patterns in self.by_name.items()
        )

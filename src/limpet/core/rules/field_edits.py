"""Header fields that a rule sets, adds and removes in passing."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from limpet.core.request import Headers

#: Never edited: they belong to one connection, frame the message, or pin sessions.
UNTOUCHABLE = frozenset(
    {
        "connection",
        "keep-alive",
        "proxy-connection",
        "te",
        "trailer",
        "transfer-encoding",
        "upgrade",
        "content-length",
        "expect",
        "date",
        "cookie",
        "set-cookie",
        "forwarded",
        "x-forwarded-for",
        "x-forwarded-host",
        "x-forwarded-port",
        "x-forwarded-proto",
        "x-request-id",
    }
)


@dataclass(frozen=True, slots=True)
class FieldEdits:
    """Edits of a message's header fields; none of `UNTOUCHABLE`.

    Attributes:
        dropped: names in lower case; `_` counts as `-`, because WSGI and CGI cannot tell them apart.
        added: whole field lines, each with its CRLF.
        pairs: the same as lower-case name and value pairs.
    """

    dropped: frozenset[bytes]
    added: bytes
    pairs: tuple[tuple[bytes, bytes], ...]

    @classmethod
    def of(
        cls,
        replaced: dict[str, str],
        added: dict[str, str],
        removed: tuple[str, ...],
    ) -> FieldEdits:
        """Make edits from settings: fields to set, to add, and to remove."""
        fields = [*replaced.items(), *added.items()]
        return cls(
            dropped=frozenset(_key(name.encode()) for name in (*replaced, *removed)),
            added="".join(f"{name}: {value}\r\n" for name, value in fields).encode("latin-1"),
            pairs=tuple((name.lower().encode(), value.encode("latin-1")) for name, value in fields),
        )

    def edit_head(self, head: bytes) -> bytes:
        """Return a head with the edits made.

        Args:
            head: start line and field lines, each with its CRLF, without the empty line.
        """
        start, *lines = head[:-2].split(b"\r\n")
        kept = [line for line in lines if _key(line.partition(b":")[0]) not in self.dropped]
        return b"\r\n".join([start, *kept, self.added])

    def edit_fields(self, fields: Headers) -> Headers:
        """Return lower-case name and value pairs with the edits made."""
        return [field for field in fields if _key(field[0]) not in self.dropped] + list(self.pairs)


def _key(name: bytes) -> bytes:
    return name.lower().replace(b"_", b"-")

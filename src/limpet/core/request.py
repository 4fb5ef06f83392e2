"""What decisions may read of a request and of a response."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from limpet.core.session_state import SessionState

Headers = list[tuple[bytes, bytes]]
"""Name and value pairs in the order of the message; names in lower case."""


class FieldBlock:
    """The header fields of a request.

    Clients repeat their fields word for word, so one block may serve many requests: it must not
    be changed once it is made.

    Attributes:
        headers: name (lower case) and value pairs, order kept.
        host: the Host header's value; b"" when an HTTP/1.0 request has none.
        cookie: the Cookie header's value; several joined with b"; "; b"" if none.
    """

    __slots__ = ("_texts", "cookie", "headers", "host")

    def __init__(self, headers: Headers, *, host: bytes = b"", cookie: bytes = b"") -> None:
        self._texts: dict[bytes, list[str]] | None = None
        self.headers = headers
        self.host = host
        self.cookie = cookie

    def texts(self, name: bytes) -> Sequence[str]:
        """Return every value of a field as the application sees it, in small letters.

        Args:
            name: in lower case, with `-`; applications read `_` as the same (WSGI, CGI).
        """
        if self._texts is None:
            self._texts = {}
            for key, value in self.passed_on():
                text = value.decode("latin-1").casefold()
                self._texts.setdefault(key.replace(b"_", b"-"), []).append(text)
        return self._texts.get(name, ())

    def passed_on(self) -> Headers:
        """Return the fields that the application sees."""
        return self.headers


class RequestHead:
    """A request head after strict parsing, and what the connection says of its client.

    Attributes:
        method: as sent, e.g. b"GET".
        path: path and query in origin form, e.g. b"/a?b=1"; or b"*".
        fields: the header fields.
        client_ip: the client's address as text, after trusted proxies were taken into account.
        is_https: whether the client's side of the request is encrypted.
    """

    __slots__ = ("client_ip", "fields", "is_https", "method", "path")

    def __init__(
        self, method: bytes, path: bytes, fields: FieldBlock, client_ip: str = "", is_https: bool = False
    ) -> None:
        self.method = method
        self.path = path
        self.fields = fields
        self.client_ip = client_ip
        self.is_https = is_https

    def header(self, name: bytes) -> bytes | None:
        """Return the first value of a header; `name` in lower case."""
        return first_value(self.fields.headers, name)


class ResponseHead:
    """A response head after strict parsing.

    Attributes:
        status: 100 to 599.
        headers: name (lower case) and value pairs, order kept.
        state: what it says of its session; None if nothing.
    """

    __slots__ = ("headers", "state", "status")

    def __init__(self, status: int, headers: Headers, state: SessionState | None = None) -> None:
        self.status = status
        self.headers = headers
        self.state = state

    def header(self, name: bytes) -> bytes | None:
        """Return the first value of a header; `name` in lower case."""
        return first_value(self.headers, name)

    def values(self, name: bytes) -> list[bytes]:
        """Return every value of a header, in order; `name` in lower case."""
        return [value for key, value in self.headers if key == name]


def first_value(headers: Iterable[tuple[bytes, bytes]], name: bytes) -> bytes | None:
    """Return the first value of a header in lower-case pairs, or None."""
    for key, value in headers:
        if key == name:
            return value
    return None

"""Response heads: parsed as strictly as requests, and edited for the client."""

from __future__ import annotations

from collections import OrderedDict
from typing import TYPE_CHECKING

from gunicorn_h1c import IncompleteError, ParseError
from gunicorn_h1c import parse_response as parse_head

from limpet.core.logouts import REDIRECTS, UNAUTHORIZED
from limpet.core.request import ResponseHead
from limpet.core.session_state import STATE_FIELD, parse_state
from limpet.errors import ErrorKind, ProtocolError
from limpet.proxy.http1.fields import HOP_BY_HOP, connection_options, content_length, cut_fields

if TYPE_CHECKING:
    from limpet.core.request import Headers

#: Body ends when the target closes the connection. Source: RFC 9112 section 6.3, rule 8.
UNTIL_CLOSE = -2
#: Body is chunked.
CHUNKED = -1

_BAD = ErrorKind.BAD_RESPONSE
#: Twice what ALB takes, which is 32 KiB.
_MAX_HEAD_BYTES = 65536
_MAX_KNOWN = 512
_MAX_KNOWN_BYTES = 4096
#: Meant for limpet alone.
_STATE = STATE_FIELD.lower().encode()
_SPECIAL = HOP_BY_HOP | {b"content-length", b"transfer-encoding", _STATE}


class Response(ResponseHead):
    """A response head as the data plane uses it; not changed once it is read.

    Attributes:
        head: the bytes of the head, the empty line included.
        body_length: number of bytes, or CHUNKED, or UNTIL_CLOSE; 0 if there is no body.
        is_keep_alive: whether the target keeps the connection.
        minor_version: 0 or 1.
        upgrade: value of the Upgrade field; b"" if none.
        cuts: fields that are not passed on.
        edited: the head as a client gets it, without the empty line.
        has_date: whether there is a Date field.
        has_request_id: whether there is an X-Request-Id field.
        sets_cookies: whether there is a Set-Cookie field.
        is_plain: nothing about it asks for more than to be passed on with an X-Request-Id.
    """

    __slots__ = (
        "body_length",
        "cuts",
        "edited",
        "has_date",
        "has_request_id",
        "head",
        "is_keep_alive",
        "is_plain",
        "minor_version",
        "sets_cookies",
        "upgrade",
    )

    def __init__(self, status: int, headers: Headers, *, head: bytes, minor_version: int) -> None:
        super().__init__(status, headers)
        self.head = head
        self.minor_version = minor_version
        self.body_length = 0
        self.is_keep_alive = minor_version == 1
        self.upgrade = b""
        self.cuts: Headers = []
        self.edited = b""
        self.has_date = False
        self.has_request_id = False
        self.sets_cookies = False
        self.is_plain = False


class ResponseReader:
    """Reads response heads, and remembers those that targets repeat.

    Under load, when it matters, a target sends the same head hundreds of times within the second
    of its Date. Equal bytes have the same reading. The memory is bounded; heads that set cookies
    are meant for one client and are not kept.
    """

    def __init__(self) -> None:
        self.known: OrderedDict[bytes, Response] = OrderedDict()

    def read(self, data: bytes, method: bytes) -> Response | None:
        """Read the response head at the beginning of `data`; as `parse_response`."""
        end = data.find(b"\r\n\r\n") + 4
        response = self.known.get(data[:end])
        if response is not None and method != b"HEAD":
            return response
        response = parse_response(data, method)
        if response is not None and method != b"HEAD" and response.status >= 200:
            self._remember(response)
        return response

    def _remember(self, response: Response) -> None:
        if len(response.head) > _MAX_KNOWN_BYTES or response.sets_cookies:
            return
        if len(self.known) >= _MAX_KNOWN:
            self.known.popitem(last=False)
        self.known[response.head] = response


def parse_response(data: bytes, method: bytes) -> Response | None:
    """Read the response head at the beginning of `data`.

    Args:
        method: of the request that it answers; decides whether there is a body.

    Returns:
        The response, or None while its head is incomplete.

    Raises:
        ProtocolError: BAD_RESPONSE; the head has no single reading.

    Source: RFC 9112 sections 4, 5 and 6; RFC 9110 section 15.
    """
    try:
        parsed = parse_head(data)
    except IncompleteError:
        if len(data) > _MAX_HEAD_BYTES:
            raise _too_large() from None
        return None
    except ParseError:
        raise ProtocolError(_BAD, "the target's response head is malformed") from None
    status: int = parsed["status"]
    size: int = parsed["consumed"]
    fields: Headers = parsed["headers"]
    if size > _MAX_HEAD_BYTES:
        raise _too_large()
    if data.count(b"\r", 0, size) != len(fields) + 2:
        raise ProtocolError(_BAD, "a bare LF in the target's response head")
    _check_status_line(data, status, parsed["minor_version"])

    lowered = [(name.lower(), value) for name, value in fields]
    names = {name for name, _ in lowered}
    if b"" in names:
        raise ProtocolError(_BAD, "a folded field line in the target's response head")
    response = Response(status, lowered, head=data[:size], minor_version=parsed["minor_version"])
    _read_fields(response, [field for field in lowered if field[0] in _SPECIAL], method)
    response.has_date = b"date" in names
    response.has_request_id = b"x-request-id" in names
    response.sets_cookies = b"set-cookie" in names
    is_dull = status != UNAUTHORIZED and status not in REDIRECTS  # those are looked at
    response.is_plain = (
        response.is_keep_alive and response.has_date and not response.has_request_id and is_dull
    )
    response.edited = b"HTTP/1.1" + cut_fields(response.head, response.cuts)[8:-2]
    return response


def _too_large() -> ProtocolError:
    return ProtocolError(_BAD, "the target's response head is too large")


def _check_status_line(data: bytes, status: int, minor_version: int) -> None:
    # RFC 9112 section 4: HTTP-version SP status-code SP [ reason-phrase ]. The last space is
    # often missing when there is no reason phrase; it has one reading all the same.
    if minor_version > 1:
        raise ProtocolError(_BAD, "the target's HTTP version is neither 1.0 nor 1.1")
    if not 100 <= status <= 599:
        raise ProtocolError(_BAD, "the target's status code is not between 100 and 599")
    if data[8:9] != b" " or not data[9:12].isdigit() or data[12:13] not in b" \r":
        raise ProtocolError(_BAD, "the target's status line is malformed")


def _read_fields(response: Response, fields: Headers, method: bytes) -> None:
    lengths = []
    codings = []
    connection = []
    for field in fields:
        name, value = field
        if name == b"content-length":
            lengths.append(value)
        elif name == b"transfer-encoding":
            codings.append(value)
        else:
            if name == b"connection":
                connection.append(value)
            elif name == b"upgrade":
                response.upgrade = value
            elif name == _STATE:
                response.state = parse_state(value)
            response.cuts.append(field)
    response.body_length = _body_length(response, lengths, codings, method)
    if connection:
        options = connection_options(connection, _BAD)
        response.is_keep_alive = b"close" not in options and (
            response.minor_version == 1 or b"keep-alive" in options
        )
        named = set(options) - HOP_BY_HOP - {b"close"}
        response.cuts += [field for field in response.headers if field[0] in named]


def _body_length(response: Response, lengths: list[bytes], codings: list[bytes], method: bytes) -> int:
    # RFC 9112 section 6.3.
    length = content_length(lengths, _BAD) if lengths else UNTIL_CLOSE
    if codings:
        if lengths:
            raise ProtocolError(_BAD, "Content-Length with Transfer-Encoding in the target's response")
        if response.minor_version == 0:
            raise ProtocolError(_BAD, "Transfer-Encoding in the target's HTTP/1.0 response")
        if len(codings) > 1 or codings[0].lower() != b"chunked":
            raise ProtocolError(_BAD, "the target's Transfer-Encoding is not chunked")
        length = CHUNKED
    status = response.status
    if status < 200 or status == 204:
        # RFC 9110 section 8.6 and RFC 9112 section 6.1 forbid both fields here; a target that
        # sends a length other than 0 may also send those bytes.
        if codings or length > 0:
            raise ProtocolError(_BAD, f"the target's {status} response announces a body")
        return 0
    if method == b"HEAD" or status == 304:
        return 0
    return length

"""Request heads: parsed strictly, and edited for the target."""

from __future__ import annotations

import itertools
import re
from typing import TYPE_CHECKING

from gunicorn_h1c import (
    IncompleteError,
    InvalidHTTPVersion,
    InvalidHeader,
    InvalidHeaderName,
    InvalidRequestMethod,
    LimitRequestHeaders,
    LimitRequestLine,
    ParseError,
    parse_request_fast,
)

from limpet.core import cookies
from limpet.core.request import RequestHead
from limpet.errors import ErrorKind, ProtocolError
from limpet.proxy.http1.fields import (
    HOP_BY_HOP,
    connection_options,
    content_length,
    cut_fields,
    replace_field,
)

if TYPE_CHECKING:
    from collections.abc import Collection

    from limpet.core.model import ClientLimits
    from limpet.core.request import Headers

_FORWARDED = (
    b"forwarded",
    b"x-forwarded-for",
    b"x-forwarded-host",
    b"x-forwarded-port",
    b"x-forwarded-proto",
)
_READ = (
    b"host",
    b"cookie",
    b"content-length",
    b"transfer-encoding",
    b"expect",
    b"http2-settings",
    b"x-request-id",
)


def _underscored(names: tuple[bytes, ...]) -> set[bytes]:
    # WSGI and CGI read `X_Forwarded_For` as `X-Forwarded-For`, so a client could say what only
    # limpet may say. Every spelling with an underscore is dropped, as nginx does by default.
    spellings = set()
    for name in names:
        parts = name.split(b"-")
        for separators in itertools.product((b"-", b"_"), repeat=len(parts) - 1):
            spellings.add(b"".join(itertools.chain(*zip(parts, (*separators, b""), strict=True))))
    return spellings - set(names)


#: Underscored doubles of fields that limpet reads or writes; always cut.
_DOUBLES = frozenset(_underscored((*_FORWARDED, *_READ, b"proxy-connection", b"keep-alive", b"remote-user")))
_SPECIAL = frozenset(_FORWARDED) | frozenset(_READ) | HOP_BY_HOP | _DOUBLES

_CONNECTION_ONLY = frozenset({b"close", b"keep-alive"})

_HOST = re.compile(rb"(?:[A-Za-z0-9._~!$&'()*+,;=%-]+|\[[0-9A-Fa-f:.]+\])(?::[0-9]{0,5})?")
_ABSOLUTE = re.compile(rb"(?i:https?)://([^/?#]+)([^#]*)")
_REQUEST_ID = re.compile(rb"[A-Za-z0-9._:/+=-]{1,128}")
_known_hosts: set[bytes] = set()


class Request(RequestHead):
    """A request head with what the data plane needs beside what decisions read.

    Attributes:
        head: the bytes of the head, the empty line included.
        size: length of the head in the buffer that was parsed.
        minor_version: 0 or 1.
        body_length: Content-Length; 0 without a body; -1 for chunked.
        is_keep_alive: whether the client wants the connection kept.
        upgrade: value of the Upgrade field of a request to switch protocols; b"" if none.
        expects_continue: the client waits for 100 before it sends the body.
        request_id: the client's own X-Request-Id; b"" if there is none.
        forwarded: the X-Forwarded-* and Forwarded fields as they came.
        cuts: fields that are not passed on.
        cookie_fields: values of the Cookie fields, one by one.
    """

    __slots__ = (
        "body_length",
        "cookie_fields",
        "cuts",
        "expects_continue",
        "forwarded",
        "head",
        "is_keep_alive",
        "minor_version",
        "request_id",
        "size",
        "upgrade",
    )

    def __init__(
        self, method: bytes, path: bytes, headers: Headers, *, head: bytes, size: int, minor_version: int
    ) -> None:
        super().__init__(method, path, headers)
        self.head = head
        self.size = size
        self.minor_version = minor_version
        self.body_length = 0
        self.is_keep_alive = minor_version == 1
        self.upgrade = b""
        self.expects_continue = False
        self.request_id = b""
        self.forwarded: Headers = []
        self.cuts: Headers = []
        self.cookie_fields: list[bytes] = []


def parse_request(data: bytes, limits: ClientLimits) -> Request | None:
    """Read the request head at the beginning of `data`.

    Returns:
        The request, or None while its head is incomplete.

    Raises:
        ProtocolError: the head has no single reading, or breaks a limit.

    Source: RFC 9112 sections 2, 3, 5 and 6; RFC 9110 sections 5, 7 and 9.
    """
    try:
        parsed = parse_request_fast(
            data,
            limit_request_line=limits.max_head_bytes,
            limit_request_fields=limits.max_headers,
            limit_request_field_size=limits.max_head_bytes,
        )
        headers: Headers = parsed.asgi_headers
    except IncompleteError:
        return None
    except (ParseError, InvalidHeader, InvalidHeaderName, InvalidRequestMethod) as error:
        raise ProtocolError(ErrorKind.BAD_REQUEST, _sentence(error)) from None
    except InvalidHTTPVersion as error:
        raise _bad_version(data, error) from None
    except LimitRequestLine as error:
        raise ProtocolError(ErrorKind.URI_TOO_LONG, str(error)) from None
    except LimitRequestHeaders as error:
        raise ProtocolError(ErrorKind.HEAD_TOO_LARGE, str(error)) from None

    size = parsed.consumed
    method = parsed.method
    path = parsed.path
    if size > limits.max_head_bytes:
        raise ProtocolError(ErrorKind.HEAD_TOO_LARGE, "the request head is too large")
    # One empty line before the request line is ignored (RFC 9112 section 2.2); the parser
    # would also take more than one space between its parts.
    start = 2 if data.startswith(b"\r\n") else 0
    if data.find(b"\r\n", start) != start + len(method) + len(path) + 10:
        raise ProtocolError(ErrorKind.BAD_REQUEST, "the request line is not METHOD SP TARGET SP VERSION")

    request = Request(
        method, path, headers, head=data[start:size], size=size, minor_version=parsed.minor_version
    )
    _read_fields(request, [field for field in headers if field[0] in _SPECIAL])
    _check_target(request)
    return request


def unreadable_request() -> Request:
    """Return a stand-in for a request that could not be read, for its answer and the log."""
    request = Request(b"-", b"-", [], head=b"", size=0, minor_version=1)
    request.is_keep_alive = False
    return request


def edit_request(request: Request, own_cookies: Collection[bytes], added: bytes) -> bytes:
    r"""Return the head as the target gets it.

    Args:
        own_cookies: names of limpet's cookies, which are not passed on.
        added: whole field lines, each with its CRLF.
    """
    head = request.head
    if request.cuts:
        head = cut_fields(head, request.cuts)
    if own_cookies:
        for value in request.cookie_fields:
            kept = cookies.remove(value, own_cookies)
            if kept is not value and kept != value:
                head = replace_field(head, b"cookie", value, b"\r\nCookie: " + kept if kept else b"")
    if request.minor_version == 0 or not head.startswith(b"%b %b " % (request.method, request.path)):
        head = b"%b %b HTTP/1.1%b" % (request.method, request.path, head[head.index(b"\r\n") :])
    return b"%b%b\r\n" % (head[:-2], added)


def _read_fields(request: Request, fields: Headers) -> None:  # noqa: C901, PLR0912  # a branch a field
    hosts = []
    lengths = []
    codings = []
    connection = []
    upgrade = b""
    for field in fields:
        name, value = field
        if name == b"host":
            hosts.append(value)
        elif name == b"cookie":
            request.cookie_fields.append(value)
        elif name == b"content-length":
            lengths.append(value)
        elif name == b"transfer-encoding":
            codings.append(value)
        elif name == b"connection":
            connection.append(value)
            request.cuts.append(field)
        elif name == b"expect":
            if value.lower() != b"100-continue":
                raise ProtocolError(ErrorKind.EXPECTATION_FAILED, "an Expect other than 100-continue")
            request.expects_continue = request.minor_version == 1
        elif name == b"x-request-id":
            if _REQUEST_ID.fullmatch(value) and not request.request_id:
                request.request_id = value
            else:
                request.cuts.append(field)
        elif name in _FORWARDED:
            request.forwarded.append(field)
        else:  # hop-by-hop, an underscored double or HTTP2-Settings
            if name == b"upgrade":
                upgrade = value if not upgrade else upgrade + b", " + value
            request.cuts.append(field)
    _read_host(request, hosts)
    if request.cookie_fields:
        cookie_fields = request.cookie_fields
        request.cookie = cookie_fields[0] if len(cookie_fields) == 1 else b"; ".join(cookie_fields)
    if lengths or codings:
        request.body_length = _body_length(request, lengths, codings)
    if connection:
        _read_connection(request, connection, upgrade)


def _read_host(request: Request, hosts: list[bytes]) -> None:
    # RFC 9112 section 3.2: a request without exactly one valid Host is a 400.
    if len(hosts) == 1:
        host = request.host = hosts[0]
        if host not in _known_hosts:
            if not _HOST.fullmatch(host):
                raise ProtocolError(ErrorKind.BAD_REQUEST, "Host is not a host and port")
            if len(_known_hosts) < 1000:
                _known_hosts.add(host)
    elif hosts:
        raise ProtocolError(ErrorKind.BAD_REQUEST, "more than one Host")
    elif request.minor_version == 1:
        raise ProtocolError(ErrorKind.BAD_REQUEST, "no Host")


def _body_length(request: Request, lengths: list[bytes], codings: list[bytes]) -> int:
    # RFC 9112 sections 6.1 to 6.3.
    if not codings:
        return content_length(lengths, ErrorKind.BAD_REQUEST)
    if lengths:
        raise ProtocolError(ErrorKind.BAD_REQUEST, "Content-Length with Transfer-Encoding")
    if request.minor_version == 0:
        raise ProtocolError(ErrorKind.BAD_REQUEST, "Transfer-Encoding in HTTP/1.0")
    if len(codings) > 1:
        raise ProtocolError(ErrorKind.BAD_REQUEST, "more than one Transfer-Encoding")
    if codings[0].lower() != b"chunked":
        raise ProtocolError(ErrorKind.NOT_IMPLEMENTED, "a Transfer-Encoding other than chunked")
    return -1


def _read_connection(request: Request, values: list[bytes], upgrade: bytes) -> None:
    options = connection_options(values, ErrorKind.BAD_REQUEST)
    is_kept_by_default = request.minor_version == 1
    request.is_keep_alive = b"close" not in options and (is_kept_by_default or b"keep-alive" in options)
    # HTTP/1.0 has no Upgrade (RFC 9110 section 7.8). h2c would open a second, unwatched way to
    # the target; and a body before the switch has no agreed framing after it.
    may_switch = request.minor_version == 1 and request.body_length == 0 and b"h2c" not in upgrade.lower()
    if b"upgrade" in options and may_switch:
        request.upgrade = upgrade
    for option in options:
        if option not in HOP_BY_HOP and option not in _CONNECTION_ONLY:
            request.cuts += [field for field in request.headers if field[0] == option]


def _check_target(request: Request) -> None:
    # RFC 9112 section 3.2: origin-form; absolute-form that agrees with Host; OPTIONS *.
    path = request.path
    if not path.isascii():
        raise ProtocolError(ErrorKind.BAD_REQUEST, "the request target has bytes outside ASCII")
    if b"#" in path:
        raise ProtocolError(ErrorKind.BAD_REQUEST, "the request target has a fragment")
    if request.method in {b"CONNECT", b"TRACE"}:
        raise ProtocolError(ErrorKind.NOT_IMPLEMENTED, f"the method {request.method.decode()}")
    if path.startswith(b"/"):
        return
    if path == b"*" and request.method == b"OPTIONS":
        return
    absolute = _ABSOLUTE.fullmatch(path)
    if absolute is None:
        raise ProtocolError(ErrorKind.BAD_REQUEST, "the request target is neither a path nor a URL")
    authority, rest = absolute.groups()
    if request.host and authority.lower() != request.host.lower():
        raise ProtocolError(ErrorKind.BAD_REQUEST, "the request target and Host disagree")
    if not _HOST.fullmatch(authority):
        raise ProtocolError(ErrorKind.BAD_REQUEST, "the request target has no valid host")
    request.path = rest if rest.startswith(b"/") else b"/" + rest


def _bad_version(data: bytes, error: Exception) -> ProtocolError:
    line = data.lstrip(b"\r\n").split(b"\r\n", 1)[0]
    if re.search(rb" HTTP/[0-9]\.[0-9]$", line):
        return ProtocolError(ErrorKind.VERSION_NOT_SUPPORTED, "an HTTP version other than 1.0 and 1.1")
    return ProtocolError(ErrorKind.BAD_REQUEST, _sentence(error))


def _sentence(error: Exception) -> str:
    return str(error) or "the request head is malformed"

"""Request heads: parsed strictly, and edited for the target."""

from __future__ import annotations

import itertools
import re
from collections import OrderedDict
from typing import TYPE_CHECKING

from gunicorn_h1c import (
    InvalidHeader,
    InvalidHeaderName,
    InvalidHTTPVersion,
    InvalidRequestMethod,
    LimitRequestHeaders,
    LimitRequestLine,
    parse_request_fast,
)

# The fast parser raises its own two of these, not those that the package exports.
from gunicorn_h1c._parser_fast import IncompleteError, ParseError

from limpet.core import cookies
from limpet.core.request import FieldBlock, RequestHead
from limpet.core.session_state import FLOOR_FIELD, MOVED_FIELD, STATE_FIELD
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
    from limpet.core.route import Decision

_FORWARDED = (
    b"forwarded",
    b"x-forwarded-for",
    b"x-forwarded-host",
    b"x-forwarded-port",
    b"x-forwarded-proto",
    b"x-forwarded-prefix",
    b"x-forwarded-server",
    b"x-forwarded-ssl",
    b"x-real-ip",
)
#: Only limpet may say them, whoever sends the request.
_OWN = (
    b"x-client-cert-subject",
    b"x-client-cert-fingerprint",
    *[name.lower().encode() for name in (STATE_FIELD, MOVED_FIELD, FLOOR_FIELD)],
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


#: Underscored doubles of fields that limpet reads or writes, and what only limpet may say; always cut.
_DOUBLES = frozenset(
    _underscored((*_FORWARDED, *_READ, *_OWN, b"proxy-connection", b"keep-alive", b"remote-user"))
) | frozenset(_OWN)
_SPECIAL = frozenset(_FORWARDED) | frozenset(_READ) | HOP_BY_HOP | _DOUBLES

_CONNECTION_ONLY = frozenset({b"close", b"keep-alive"})

#: A request line that can at least be logged.
_ANY_LINE = re.compile(rb"([!#$%&'*+.^_`|~0-9A-Za-z-]{1,32}) ([!-~]{1,2048}) HTTP/1\.([01])\r?\n")
#: The line of a usual request up to its version; whatever does not match is parsed from scratch.
USUAL_LINE = re.compile(rb"(GET|POST|HEAD|PUT|PATCH|DELETE|OPTIONS) (/[!-\"$-~]*)")
_COOKIE_LINE = b"\r\nCookie: "
#: A field value (RFC 9110 section 5.5) that neither begins nor ends with white space.
_COOKIE_VALUE = re.compile(rb"[!-~\x80-\xff](?:[\t -~\x80-\xff]*[!-~\x80-\xff])?")
_MAX_KNOWN = 512
_MAX_KNOWN_BYTES = 4096

_HOST = re.compile(rb"(?:[A-Za-z0-9._~!$&'()*+,;=%-]+|\[[0-9A-Fa-f:.]+\])(?::[0-9]{0,5})?")
_ABSOLUTE = re.compile(rb"(?i:https?)://([^/?#]+)([^#]*)")
_REQUEST_ID = re.compile(rb"[A-Za-z0-9._:/+=-]{1,128}")
_known_hosts: set[bytes] = set()


class RequestFields(FieldBlock):
    """The header fields of a request with what they mean for its transport.

    Attributes:
        tail: the head's bytes from the space before the version to the empty line, included.
        minor_version: 0 or 1.
        body_length: Content-Length; 0 without a body; -1 for chunked.
        is_keep_alive: whether the client wants the connection kept.
        upgrade: value of the Upgrade field of a request to switch protocols; b"" if none.
        expects_continue: the client waits for 100 before it sends the body.
        request_id: the client's own X-Request-Id; b"" if there is none.
        forwarded: the X-Forwarded-* and Forwarded fields as they came.
        cuts: fields that are not passed on.
        cookies: values of the Cookie fields, one by one.
        decision: the last decision for a request with these fields; see `ClientConnection.send_known`.
    """

    __slots__ = (
        "_edited",
        "_edited_for",
        "_others",
        "body_length",
        "cookies",
        "cuts",
        "decision",
        "expects_continue",
        "forwarded",
        "is_keep_alive",
        "minor_version",
        "request_id",
        "tail",
        "upgrade",
    )

    def __init__(self, headers: Headers, tail: bytes, minor_version: int) -> None:
        super().__init__(headers)
        self.tail = tail
        self.minor_version = minor_version
        self.body_length = 0
        self.is_keep_alive = minor_version == 1
        self.upgrade = b""
        self.expects_continue = False
        self.request_id = b""
        self.forwarded: Headers = []
        self.cuts: Headers = []
        self.cookies: list[bytes] = []
        self.decision: Decision | None = None
        self._others: RequestFields | None = None  # the same without the Cookie field
        self._edited = b""
        self._edited_for: Collection[bytes] | None = None

    def with_cookie(self, value: bytes, tail: bytes) -> RequestFields:
        """Return the same fields with a Cookie field more, which `headers` does not list.

        Args:
            tail: of the head that has them all.
        """
        fields = RequestFields(self.headers, tail, self.minor_version)
        fields.host = self.host
        fields.is_keep_alive = self.is_keep_alive
        fields.cookie = value
        fields.cookies = [value]
        fields._others = self  # of the same class
        return fields

    def passed_on(self) -> Headers:
        """Return the fields that the target sees."""
        kept = [field for field in self.headers if field[0] != b"cookie" and field not in self.cuts]
        kept += [(b"cookie", value) for value in self.cookies]
        return [*kept, (b"upgrade", self.upgrade)] if self.upgrade else kept

    def edited(self, own_cookies: Collection[bytes]) -> bytes:
        """Return the tail as the target gets it, without the empty line.

        Args:
            own_cookies: names of limpet's cookies, which are not passed on.
        """
        if self._edited_for is not own_cookies and self._edited_for != own_cookies:
            self._edited = self._edit(own_cookies)
            self._edited_for = own_cookies
        return self._edited

    def _edit(self, own_cookies: Collection[bytes]) -> bytes:
        if self._others is not None:
            kept = cookies.remove(self.cookie, own_cookies)
            others = self._others.edited(own_cookies)
            return b"%bCookie: %b\r\n" % (others, kept) if kept else others
        tail = cut_fields(self.tail, self.cuts)
        for value in self.cookies:
            kept = cookies.remove(value, own_cookies)
            if kept != value:
                tail = replace_field(tail, b"cookie", value, b"\r\nCookie: " + kept if kept else b"")
        return b" HTTP/1.1" + tail[9:-2]


class Request(RequestHead):
    """A request head as the data plane uses it.

    Attributes:
        fields: shared by requests that repeat the same fields.
        size: length of the head in the buffer that was read.
    """

    __slots__ = ("size",)
    fields: RequestFields

    def __init__(self, method: bytes, path: bytes, fields: RequestFields, size: int, client_ip: str) -> None:
        self.method = method
        self.path = path
        self.fields = fields
        self.client_ip = client_ip
        self.is_https = False
        self.size = size


class RequestReader:
    """Reads request heads, and remembers the fields that clients repeat.

    A browser sends the same fields with request after request on all its connections, and many
    browsers the same but for their cookies. Fields that come again byte by byte have the same
    reading, so the second time only the request line is parsed, or that and the Cookie field.
    The memory is bounded, and holds only heads of requests without a body.

    Attributes:
        known: fields by their `tail`.
    """

    def __init__(self, limits: ClientLimits) -> None:
        self._limits = limits
        self.known: OrderedDict[bytes, RequestFields] = OrderedDict()
        self._known_without_cookie: OrderedDict[bytes, RequestFields] = OrderedDict()

    def read(self, data: bytes, client_ip: str) -> Request | None:
        """Read the request head at the beginning of `data`.

        Returns:
            The request, or None while its head is incomplete.

        Raises:
            ProtocolError: the head has no single reading, or breaks a limit.
        """
        start = data.find(b" HTTP/1.")
        fields = self.known.get(data[start:]) or self._fields_but_cookie(data, start)
        if fields is not None:
            line = USUAL_LINE.fullmatch(data, 0, start)
            if line is not None and len(data) <= self._limits.max_head_bytes:
                method, path = line.groups()
                return Request(method, path, fields, len(data), client_ip)
        request = parse_request(data, self._limits, client_ip)
        if request is not None and request.size == len(data):
            self._remember(request.fields)
        return request

    def _fields_but_cookie(self, data: bytes, start: int) -> RequestFields | None:
        at = data.find(_COOKIE_LINE, start)
        if at < 0:
            return None
        value_at = at + len(_COOKIE_LINE)
        # Before the last empty line: a Cookie line behind it belongs to no head.
        end = data.find(b"\r\n", value_at, -2)
        others = self._known_without_cookie.get(data[start:at] + data[end:])
        if others is None or not _COOKIE_VALUE.fullmatch(data, value_at, end):
            return None
        fields = others.with_cookie(data[value_at:end], data[start:])
        _keep(self.known, fields.tail, fields)
        return fields

    def _remember(self, fields: RequestFields) -> None:
        is_unique = fields.body_length or fields.forwarded or fields.request_id or fields.upgrade
        if is_unique or fields.expects_continue or len(fields.tail) > _MAX_KNOWN_BYTES:
            return
        _keep(self.known, fields.tail, fields)
        if len(fields.cookies) == 1 and (b"cookie", fields.cookies[0]) not in fields.cuts:
            line = _COOKIE_LINE + fields.cookies[0] + b"\r\n"
            at = fields.tail.find(line)
            if at >= 0:  # spelt as browsers spell it
                tail = fields.tail[:at] + fields.tail[at + len(line) - 2 :]
                others = RequestFields(
                    [f for f in fields.headers if f[0] != b"cookie"], tail, fields.minor_version
                )
                others.host = fields.host
                others.is_keep_alive = fields.is_keep_alive
                others.cuts = fields.cuts
                _keep(self._known_without_cookie, tail, others)


def _keep(known: OrderedDict[bytes, RequestFields], tail: bytes, fields: RequestFields) -> None:
    if len(known) >= _MAX_KNOWN:
        known.popitem(last=False)
    known[tail] = fields


def parse_request(data: bytes, limits: ClientLimits, client_ip: str = "") -> Request | None:
    """Read the request head at the beginning of `data`; as `RequestReader.read`, without memory.

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
    version_at = start + len(method) + 1 + len(path)
    if data[version_at : version_at + 9] != b" HTTP/1.%d" % parsed.minor_version:
        raise ProtocolError(ErrorKind.BAD_REQUEST, "the request line is not METHOD SP TARGET SP VERSION")

    fields = RequestFields(headers, data[version_at:size], parsed.minor_version)
    _read_fields(fields, [field for field in headers if field[0] in _SPECIAL])
    return Request(method, _origin_form(method, path, fields.host), fields, size, client_ip)


def unreadable_request(head: bytes = b"") -> Request:
    """Return a stand-in for a request that is refused, for its answer and the log.

    Args:
        head: as far as it came; its request line is told if it can be read.
    """
    line = _ANY_LINE.match(head)
    method, path, minor_version = line.groups() if line is not None else (b"-", b"-", b"1")
    fields = RequestFields([], b"", int(minor_version))
    fields.is_keep_alive = False
    return Request(method, path, fields, 0, "")


def edit_request(request: Request, own_cookies: Collection[bytes], added: bytes) -> bytes:
    r"""Return the head as the target gets it.

    Args:
        own_cookies: names of limpet's cookies, which are not passed on.
        added: whole field lines, each with its CRLF.
    """
    return b"%b %b%b%b\r\n" % (request.method, request.path, request.fields.edited(own_cookies), added)


def _read_fields(block: RequestFields, fields: Headers) -> None:  # noqa: C901, PLR0912  # a branch a field
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
            block.cookies.append(value)
        elif name == b"content-length":
            lengths.append(value)
        elif name == b"transfer-encoding":
            codings.append(value)
        elif name == b"connection":
            connection.append(value)
            block.cuts.append(field)
        elif name == b"expect":
            if value.lower() != b"100-continue":
                raise ProtocolError(ErrorKind.EXPECTATION_FAILED, "an Expect other than 100-continue")
            block.expects_continue = block.minor_version == 1
        elif name == b"x-request-id":
            if _REQUEST_ID.fullmatch(value) and not block.request_id:
                block.request_id = value
            else:
                block.cuts.append(field)
        elif name in _FORWARDED:
            block.forwarded.append(field)
        else:  # hop-by-hop, an underscored double, limpet's own, or HTTP2-Settings
            if name == b"upgrade":
                upgrade = value if not upgrade else upgrade + b", " + value
            block.cuts.append(field)
    _read_host(block, hosts)
    if block.cookies:
        cookie_fields = block.cookies
        block.cookie = cookie_fields[0] if len(cookie_fields) == 1 else b"; ".join(cookie_fields)
    if lengths or codings:
        block.body_length = _body_length(block, lengths, codings)
    if connection:
        _read_connection(block, connection, upgrade)


def _read_host(block: RequestFields, hosts: list[bytes]) -> None:
    # RFC 9112 section 3.2: a request without exactly one valid Host is a 400.
    if len(hosts) == 1:
        host = block.host = hosts[0]
        if host not in _known_hosts:
            if not _HOST.fullmatch(host):
                raise ProtocolError(ErrorKind.BAD_REQUEST, "Host is not a host and port")
            if len(_known_hosts) < 1000:
                _known_hosts.add(host)
    elif hosts:
        raise ProtocolError(ErrorKind.BAD_REQUEST, "more than one Host")
    elif block.minor_version == 1:
        raise ProtocolError(ErrorKind.BAD_REQUEST, "no Host")


def _body_length(block: RequestFields, lengths: list[bytes], codings: list[bytes]) -> int:
    # RFC 9112 sections 6.1 to 6.3.
    if not codings:
        return content_length(lengths, ErrorKind.BAD_REQUEST)
    if lengths:
        raise ProtocolError(ErrorKind.BAD_REQUEST, "Content-Length with Transfer-Encoding")
    if block.minor_version == 0:
        raise ProtocolError(ErrorKind.BAD_REQUEST, "Transfer-Encoding in HTTP/1.0")
    if len(codings) > 1:
        raise ProtocolError(ErrorKind.BAD_REQUEST, "more than one Transfer-Encoding")
    if codings[0].lower() != b"chunked":
        raise ProtocolError(ErrorKind.NOT_IMPLEMENTED, "a Transfer-Encoding other than chunked")
    return -1


def _read_connection(block: RequestFields, values: list[bytes], upgrade: bytes) -> None:
    options = connection_options(values, ErrorKind.BAD_REQUEST)
    is_kept_by_default = block.minor_version == 1
    block.is_keep_alive = b"close" not in options and (is_kept_by_default or b"keep-alive" in options)
    # HTTP/1.0 has no Upgrade (RFC 9110 section 7.8). h2c would open a second, unwatched way to
    # the target; and a body before the switch has no agreed framing after it.
    may_switch = block.minor_version == 1 and block.body_length == 0 and b"h2c" not in upgrade.lower()
    if b"upgrade" in options and may_switch:
        block.upgrade = upgrade
    for option in options:
        if option not in HOP_BY_HOP and option not in _CONNECTION_ONLY:
            block.cuts += [field for field in block.headers if field[0] == option]
            # What is cut does not count either: limpet's own takes its place.
            block.forwarded = [field for field in block.forwarded if field[0] != option]
            if option == b"x-request-id":
                block.request_id = b""


def _origin_form(method: bytes, path: bytes, host: bytes) -> bytes:
    # RFC 9112 section 3.2: origin-form; absolute-form that agrees with Host; OPTIONS *.
    if not path.isascii():
        raise ProtocolError(ErrorKind.BAD_REQUEST, "the request target has bytes outside ASCII")
    if b"#" in path:
        raise ProtocolError(ErrorKind.BAD_REQUEST, "the request target has a fragment")
    if method in {b"CONNECT", b"TRACE"}:
        raise ProtocolError(ErrorKind.NOT_IMPLEMENTED, f"the method {method.decode()}")
    if path.startswith(b"/") or (path == b"*" and method == b"OPTIONS"):
        return path
    absolute = _ABSOLUTE.fullmatch(path)
    if absolute is None:
        raise ProtocolError(ErrorKind.BAD_REQUEST, "the request target is neither a path nor a URL")
    authority, rest = absolute.groups()
    # Nor may HTTP/1.0 leave Host out here: the target would be told another host than the URL's.
    if not _HOST.fullmatch(authority) or authority.lower() != host.lower():
        raise ProtocolError(ErrorKind.BAD_REQUEST, "the request target and Host disagree")
    return rest if rest.startswith(b"/") else b"/" + rest


def _bad_version(data: bytes, error: Exception) -> ProtocolError:
    line = data.lstrip(b"\r\n").split(b"\r\n", 1)[0]
    if re.search(rb" HTTP/[0-9]\.[0-9]$", line):
        return ProtocolError(ErrorKind.VERSION_NOT_SUPPORTED, "an HTTP version other than 1.0 and 1.1")
    return ProtocolError(ErrorKind.BAD_REQUEST, _sentence(error))


def _sentence(error: Exception) -> str:
    return str(error) or "the request head is malformed"

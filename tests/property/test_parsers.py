"""Whatever bytes come: declared errors only, one reading however the bytes are cut, and no second one."""

from __future__ import annotations

import itertools
import os
from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st

from limpet.core import cookies
from limpet.core.key_ring import KeyRing
from limpet.core.model import ClientLimits
from limpet.core.stickiness.contract import StickyStatus
from limpet.core.stickiness.ticket import Ticket, open_ticket
from limpet.errors import ErrorKind, ProtocolError
from limpet.proxy.forwarded import client_address, forwarded_fields
from limpet.proxy.http1.chunked import ChunkedReader
from limpet.proxy.http1.request import RequestReader, edit_request, parse_request, unreadable_request
from limpet.proxy.http1.response import parse_response
from limpet.proxy.http2.request import http1_head
from limpet.proxy.http2.response import ResponseSplitter
from limpet.proxy.proxy_protocol import parse_proxy_header
from limpet.sessions.codec import pack, unpack
from limpet.sessions.cookie import CookieSettings
from limpet.sessions.errors import UndecodableError, UnsupportedValueError

LIMITS = ClientLimits(max_head_bytes=1024, max_headers=10)
READER = RequestReader(LIMITS)
RING = KeyRing([b"k" * 32])

#: What messages are made of; whatever is between them is drawn.
# fmt: off
_PIECES = [
    b"GET", b"POST", b"HEAD", b"OPTIONS", b"CONNECT", b"PRI", b" ", b"  ", b"/", b"/a?b=c", b"*",
    b"http://a/x", b" HTTP/1.1\r\n", b" HTTP/1.0\r\n", b" HTTP/2.0\r\n", b"HTTP/1.1 200 OK\r\n",
    b"HTTP/1.0 304\r\n", b"HTTP/1.1 103 \r\n", b"HTTP/1.1 204 No\r\n", b"\r\n", b"\n", b"\r", b":", b": ",
    b"\t", b",", b";", b"=", b"Host: a\r\n", b"host: a:80\r\n", b"Content-Length: 3\r\n",
    b"Content-Length: +3\r\n", b"Transfer-Encoding: chunked\r\n", b"Transfer-Encoding: gzip, chunked\r\n",
    b"Connection: close, x\r\n", b"Upgrade: h2c\r\n", b"Expect: 100-continue\r\n",
    b"Cookie: a=b; limpet=c\r\n", b"X-Forwarded-For: 1.2.3.4\r\n", b'Forwarded: for="[::1]"\r\n',
    b"X_Forwarded_For: 1\r\n", b"X: y\r\n", b" folded\r\n", b"\x00", b"\xff", b"0\r\n", b"3\r\nabc\r\n",
    b"a;x=y\r\n", b"ffffffffffffffff\r\n", b"-1\r\n", b"0x3\r\n", b"abc", b"0\r\n\r\n", b"PROXY ",
    b"TCP4 1.2.3.4 5.6.7.8 1 2\r\n", b"TCP6 ::1 ::2 1 2\r\n", b"UNKNOWN\r\n", b"\r\n\r\n\x00\r\nQUIT\n",
    b"!\x11\x00\x0c", b"!!\x00$", b" \x00\x00\x00", b"\x7f\x00\x00\x01\x7f\x00\x00\x01\x7f\x00\x00\x01",
]
# fmt: on
_PIECE = st.one_of(st.sampled_from(_PIECES), st.binary(max_size=6))
MESSAGES = st.lists(_PIECE, max_size=16).map(b"".join)
_REQUEST_LINES = st.sampled_from([b"GET / HTTP/1.1\r\nHost: a\r\n", b"POST /x HTTP/1.1\r\nHost: a\r\n", b""])
REQUESTS = st.tuples(_REQUEST_LINES, MESSAGES, st.sampled_from([b"\r\n\r\n", b"\r\n", b""])).map(b"".join)
RESPONSES = st.tuples(st.sampled_from([b"HTTP/1.1 200 OK\r\n", b"HTTP/1.1 103 A\r\n", b""]), MESSAGES).map(
    b"".join
)
METHODS = st.sampled_from([b"GET", b"HEAD", b"POST"])


def outcome(read: Any, *arguments: Any) -> Any:
    """Return what a parser returns, or the kind of its error."""
    try:
        return read(*arguments)
    except ProtocolError as error:
        return error.kind


def parts(data: bytes, cuts: list[int]) -> list[bytes]:
    places = sorted({0, len(data), *(cut % (len(data) + 1) for cut in cuts)})
    return [data[a:b] for a, b in itertools.pairwise(places)]


def told(request: Any) -> Any:
    if request is None or isinstance(request, ErrorKind):
        return request
    fields = request.fields
    return (
        request.method,
        request.path,
        fields.body_length,
        fields.is_keep_alive,
        fields.host,
        fields.upgrade,
    )


@given(REQUESTS)
@settings(max_examples=150)
def test_a_request_has_one_reading(data: bytes) -> None:
    whole = outcome(parse_request, data, LIMITS)
    assert told(outcome(READER.read, data, "")) == told(whole)
    assert told(outcome(READER.read, data, "")) == told(whole)  # from memory
    if whole is None or isinstance(whole, ErrorKind):
        unreadable_request(data)
        return
    sent = edit_request(whole, frozenset({b"limpet"}), b"X-Request-Id: 1\r\n")
    again = parse_request(sent, ClientLimits(max_head_bytes=4096, max_headers=50))
    assert again is not None, sent
    assert again.size == len(sent)
    assert (again.method, again.path) == (whole.method, whole.path)
    assert again.fields.body_length == whole.fields.body_length
    assert not again.fields.forwarded or whole.fields.forwarded
    assert all(b"limpet" not in cookies.find_values(value, b"limpet") for value in again.fields.cookies)


@given(REQUESTS, st.integers(0, 200))
def test_more_bytes_change_no_head_that_was_read(data: bytes, cut: int) -> None:
    part, whole = outcome(parse_request, data[:cut], LIMITS), outcome(parse_request, data, LIMITS)
    if part is not None:
        assert told(part) == told(whole) or (isinstance(part, ErrorKind) and isinstance(whole, ErrorKind))


@given(RESPONSES, METHODS)
@settings(max_examples=150)
def test_a_response_has_one_reading(data: bytes, method: bytes) -> None:
    response = outcome(parse_response, data, method)
    if response is None or isinstance(response, ErrorKind):
        assert response in {None, ErrorKind.BAD_RESPONSE}
        return
    again = parse_response(response.edited + b"\r\n", method)
    assert again is not None
    assert again.body_length == response.body_length
    assert again.status == response.status


@given(MESSAGES, st.lists(st.integers(0, 300), max_size=30))
@settings(max_examples=150)
def test_chunks_are_the_same_however_they_come(data: bytes, cuts: list[int]) -> None:
    def read(pieces: list[bytes]) -> Any:
        reader = ChunkedReader(ErrorKind.BAD_REQUEST)
        body = b""
        for number, piece in enumerate(pieces):
            try:
                body += reader.feed(piece)
            except ProtocolError:
                return "error"
            if reader.is_done:
                return body, reader.trailers, reader.rest + b"".join(pieces[number + 1 :])
        return body

    assert read([data]) == read(parts(data, cuts)) == read([data[i : i + 1] for i in range(len(data))])


@given(MESSAGES, st.integers(0, 120))
@settings(max_examples=100)
def test_proxy_headers_are_the_same_however_they_come(data: bytes, cut: int) -> None:
    whole, part = outcome(parse_proxy_header, data), outcome(parse_proxy_header, data[:cut])
    assert part is None or part == whole
    if whole is not None and not isinstance(whole, ErrorKind):
        assert 0 < whole.size <= len(data)


@given(REQUESTS, st.sampled_from(["192.0.2.1", "::1", ""]), st.booleans())
def test_forwarded_fields_are_lines(data: bytes, peer: str, is_trusted: bool) -> None:
    request = outcome(parse_request, data, LIMITS)
    if request is None or isinstance(request, ErrorKind):
        return
    client_address(request, peer, lambda address: address.endswith("1"))
    lines = forwarded_fields(request, peer, 80, is_trusted=is_trusted)
    head = b"GET / HTTP/1.1\r\nHost: a\r\n" + lines + b"\r\n"
    again = parse_request(head, ClientLimits())
    assert again is not None
    assert again.size == len(head)
    assert len(again.fields.headers) == 1 + lines.count(b"\r\n")


_NAMES = st.sampled_from(
    [
        *b":method :path :authority :scheme :status host cookie content-length te transfer-encoding".split(),
        *(b"connection", b"upgrade", b"expect", b"x", b"X", b"x_y", b"", b"a b", b"x\r\ny"),
    ]
)
_VALUES = st.sampled_from(
    [
        *b"GET POST / /a * a shop.example 3 +3 chunked http://a/ 100-continue".split(),
        *(b"", b"a\r\nx: y", b"\x00", b"/ HTTP/1.1\r\nx: y", b"/a b", b" a ", b"\xff"),
    ]
)
_USUAL = [(b":method", b"GET"), (b":path", b"/"), (b":scheme", b"https"), (b":authority", b"a")]


@given(st.booleans(), st.lists(st.tuples(_NAMES, _VALUES | st.binary(max_size=4)), max_size=5), st.booleans())
@settings(max_examples=150)
def test_a_section_of_http2_is_one_request_or_none(is_usual: bool, more: Any, has_body: bool) -> None:
    section = _USUAL * is_usual + more
    try:
        head = http1_head(section, has_body=has_body)
    except ProtocolError:
        return
    request = outcome(parse_request, head, ClientLimits())
    if isinstance(request, ErrorKind):
        return
    assert request is not None
    assert request.size == len(head), "there is something behind the request"
    regular = [pair for pair in section if not pair[0].startswith(b":")]
    assert len(request.fields.headers) <= len(regular) + 2
    assert has_body or request.fields.body_length <= 0


class _Sink:
    def __init__(self) -> None:
        self.heads: list[Any] = []
        self.data = b""
        self.ends: list[Any] = []

    def head(self, status: int, fields: Any, *, is_last: bool) -> None:
        self.heads.append((status, fields, is_last))

    def body(self, data: bytes) -> None:
        assert data
        self.data += data

    def end(self, trailers: Any) -> None:
        self.ends.append(trailers)


@given(RESPONSES, METHODS, st.lists(st.integers(0, 300), max_size=20))
@settings(max_examples=100)
def test_responses_are_split_the_same_however_they_come(data: bytes, method: bytes, cuts: list[int]) -> None:
    def split(pieces: list[bytes]) -> Any:
        sink = _Sink()
        splitter = ResponseSplitter(method, sink)
        try:
            for piece in pieces:
                splitter.feed(piece)
        except ProtocolError:
            return "error"
        return sink.heads, sink.data[: _length(sink)], sink.ends, splitter.is_done

    assert split([data]) == split(parts(data, cuts))


def _length(sink: _Sink) -> int | None:
    # What comes behind a body of known length is cut by whoever writes it.
    lengths = (
        [int(value) for name, value in sink.heads[-1][1] if name == b"content-length"] if sink.heads else []
    )
    return lengths[0] if lengths else None


@given(
    st.lists(
        st.sampled_from([b"a", b"limpet", b"=", b";", b" ", b'"', b",", b"\t", b"b=c", b"\xff"]), max_size=20
    )
)
def test_cookies(pieces: list[bytes]) -> None:
    value = b"".join(pieces)
    kept = cookies.remove(value, {b"limpet"})
    assert cookies.find_values(kept, b"limpet") == []
    assert cookies.find_values(kept, b"a") == cookies.find_values(value, b"a")
    cookies.parse_set_cookie(value, 0.0)
    CookieSettings().find_in_header(value)


@given(st.binary(max_size=200))
def test_no_chance_value_is_a_ticket(value: bytes) -> None:
    assert not isinstance(open_ticket(value, RING), Ticket)
    assert isinstance(open_ticket(b"1" + value, RING), StickyStatus)


@given(st.binary(max_size=100), st.integers(0, 99), st.binary(max_size=3))
@settings(max_examples=100)
def test_stored_data_decodes_or_says_so(data: bytes, at: int, patch: bytes) -> None:
    sound = pack({"a": [1, 2.5, None, "x" * 20], "b": {"c": data}})
    for hostile in (data, os.urandom(20), sound[:at] + patch + sound[at + len(patch) :]):
        try:
            value = unpack(hostile)
        except UndecodableError:
            continue
        try:
            pack(value)
        except UnsupportedValueError:
            continue

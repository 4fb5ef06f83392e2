"""Responses of a target that have more than one reading, or none, and such that must pass.

Of a refused one the client gets a 502, or, if its head was fine and had been passed on, a
response that is visibly cut. The target's connection is closed in any case: what it sends next
cannot be read as the answer to somebody else.
"""

from __future__ import annotations

from typing import NamedTuple

INJECTED = b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nwrong"


class Refused(NamedTuple):
    """A response that must not be understood."""

    name: str
    data: bytes
    rfc: str
    is_in_body: bool = False
    closes: bool = False


class Accepted(NamedTuple):
    """A response that must pass, what the client gets of it, and whether its connection is kept."""

    name: str
    data: bytes
    status: int = 200
    body: bytes = b""
    fields: tuple[tuple[bytes, bytes], ...] = ()
    is_kept: bool = True
    closes: bool = False
    method: bytes = b"GET"


def _ok(fields: bytes, body: bytes = b"", line: bytes = b"HTTP/1.1 200 OK") -> bytes:
    return line + b"\r\n" + fields + b"\r\n" + body


def _chunked(body: bytes) -> bytes:
    return _ok(b"Transfer-Encoding: chunked\r\n", body)


_BOTH = "RFC 9112 6.1 and 6.3: Transfer-Encoding with Content-Length may be an attempt at response splitting"
_FINAL = "RFC 9112 6.3: a coding other than one final chunked leaves the end to the closing of the connection"
_LENGTH = (
    "RFC 9112 6.3: an invalid Content-Length from a target: a proxy MUST discard the response and send 502"
)
_EOL = "RFC 9112 2.2: CRLF ends a line; that a recipient MAY take a lone LF is not used"
_CR = "RFC 9112 2.2: a bare CR is invalid, or a space, before anything else is read"
_FOLD = "RFC 9112 5.2: a proxy that receives obs-fold in a response MUST discard it with a 502 or replace it"
_COLON = "RFC 9112 5.1: whitespace before the colon is no field line; limpet does not repair it"
_NAME = "RFC 9110 5.1: field-name = token"
_VALUE = "RFC 9110 5.5: CR, LF and NUL in a field value are invalid and dangerous"
_STATUS = "RFC 9112 4: status-line = HTTP-version SP status-code SP [ reason-phrase ]; status-code = 3DIGIT"
_VERSION = "RFC 9110 2.5: the major version says how a message is read; limpet reads 1.0 and 1.1"
_CHUNK = "RFC 9112 7.1: chunk = chunk-size [ chunk-ext ] CRLF chunk-data CRLF; chunk-size = 1*HEXDIG"
_TRAILER = "RFC 9112 7.1.2: trailer-section = *( field-line CRLF )"
_NO_BODY = "RFC 9110 8.6 and RFC 9112 6.1: neither length nor coding in a 1xx or 204 response"
_CONNECTION = "RFC 9110 7.6.1: Connection lists tokens; a framing field is none of its options"
_SHORT = "RFC 9112 8: a response that ends before its length or its last chunk is incomplete"
_INTERIM = "RFC 9110 15.2: interim responses precede a final one; 101 answers an Upgrade only"
_LIMIT = "RFC 9110 15.6.3: a response that the proxy cannot take is a 502"

REFUSED: dict[str, tuple[Refused, ...]] = {
    "Content-Length with Transfer-Encoding": (
        Refused(
            "length first", _ok(b"Content-Length: 5\r\nTransfer-Encoding: chunked\r\n", b"0\r\n\r\n"), _BOTH
        ),
        Refused(
            "coding first", _ok(b"Transfer-Encoding: chunked\r\nContent-Length: 5\r\n", b"0\r\n\r\n"), _BOTH
        ),
        Refused("length 0", _ok(b"Content-Length: 0\r\nTransfer-Encoding: chunked\r\n", b"0\r\n\r\n"), _BOTH),
        Refused(
            "odd in case", _ok(b"content-LENGTH: 5\r\nTRANSFER-encoding: Chunked\r\n", b"0\r\n\r\n"), _BOTH
        ),
        Refused("identity", _ok(b"Content-Length: 2\r\nTransfer-Encoding: identity\r\n", b"ok"), _BOTH),
    ),
    "transfer codings": (
        Refused(
            "in HTTP/1.0", _ok(b"Transfer-Encoding: chunked\r\n", b"0\r\n\r\n", b"HTTP/1.0 200 OK"), _FINAL
        ),
        Refused("two lines", _ok(b"Transfer-Encoding: chunked\r\n" * 2, b"0\r\n\r\n"), _FINAL),
        Refused("chunked twice", _ok(b"Transfer-Encoding: chunked, chunked\r\n", b"0\r\n\r\n"), _FINAL),
        Refused("unknown", _ok(b"Transfer-Encoding: xchunked\r\n", b"0\r\n\r\n"), _FINAL),
        Refused("identity", _ok(b"Transfer-Encoding: identity\r\n", b"ok"), _FINAL),
        Refused("gzip below", _ok(b"Transfer-Encoding: gzip, chunked\r\n", b"0\r\n\r\n"), _FINAL),
        Refused("quoted", _ok(b'Transfer-Encoding: "chunked"\r\n', b"0\r\n\r\n"), _FINAL),
        Refused("empty", _ok(b"Transfer-Encoding:\r\n", b"0\r\n\r\n"), _FINAL),
        Refused("vertical tab", _ok(b"Transfer-Encoding: \x0bchunked\r\n", b"0\r\n\r\n"), _VALUE),
    ),
    "repeated or odd lengths": (
        Refused("two that differ", _ok(b"Content-Length: 2\r\nContent-Length: 3\r\n", b"abc"), _LENGTH),
        Refused("two that agree", _ok(b"Content-Length: 2\r\nContent-Length: 2\r\n", b"ok"), _LENGTH),
        Refused("a list", _ok(b"Content-Length: 2, 2\r\n", b"ok"), _LENGTH),
        Refused("a sign", _ok(b"Content-Length: +2\r\n", b"ok"), _LENGTH),
        Refused("negative", _ok(b"Content-Length: -1\r\n", b"ok"), _LENGTH),
        Refused("hexadecimal", _ok(b"Content-Length: 0x2\r\n", b"ok"), _LENGTH),
        Refused("an underscore", _ok(b"Content-Length: 1_0\r\n", b"0123456789"), _LENGTH),
        Refused("a space within", _ok(b"Content-Length: 1 0\r\n", b"0123456789"), _LENGTH),
        Refused("empty", _ok(b"Content-Length:\r\n", b"ok"), _LENGTH),
        Refused("two to the 64 plus 2", _ok(b"Content-Length: 18446744073709551618\r\n", b"ok"), _LENGTH),
        Refused("in a 304", _ok(b"Content-Length: x\r\n", line=b"HTTP/1.1 304 Not Modified"), _LENGTH),
    ),
    "bare LF": (
        Refused("after the status line", b"HTTP/1.1 200 OK\nContent-Length: 2\r\n\r\nok", _EOL),
        Refused("after a field", _ok(b"X-A: 1\nContent-Length: 2\r\n", b"ok"), _EOL),
        Refused("as the empty line", b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\nok", _EOL),
        Refused("before the last CRLF", b"HTTP/1.1 200 OK\r\nContent-Length: 2\n\r\nok", _EOL),
        Refused("everywhere", b"HTTP/1.1 200 OK\nContent-Length: 2\n\nok", _EOL),
        Refused("hides a length", b"HTTP/1.1 200 OK\r\nX-A: 1\nContent-Length: 0\r\n\r\n" + INJECTED, _EOL),
        Refused("bare CR in a value", _ok(b"X-A: 1\rX-B: 2\r\nContent-Length: 2\r\n", b"ok"), _CR),
        Refused("bare CR in the reason", _ok(b"Content-Length: 2\r\n", b"ok", b"HTTP/1.1 200 O\rK"), _CR),
        Refused("CR CR LF", b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\r\n\r\nok", _CR),
    ),
    "obs-fold": (
        Refused("space", _ok(b"X-A: 1\r\n 2\r\nContent-Length: 2\r\n", b"ok"), _FOLD),
        Refused("tab", _ok(b"X-A: 1\r\n\t2\r\nContent-Length: 2\r\n", b"ok"), _FOLD),
        Refused("of Content-Length", _ok(b"Content-Length: 1\r\n 0\r\n", b"0123456789"), _FOLD),
        Refused("of Transfer-Encoding", _ok(b"Transfer-Encoding:\r\n chunked\r\n", b"0\r\n\r\n"), _FOLD),
        Refused("of Set-Cookie", _ok(b"Set-Cookie: a=1;\r\n Path=/\r\nContent-Length: 2\r\n", b"ok"), _FOLD),
        Refused("first line", _ok(b" X-A: 1\r\nContent-Length: 2\r\n", b"ok"), _FOLD),
        Refused("empty continuation", _ok(b"X-A: 1\r\n \r\nContent-Length: 2\r\n", b"ok"), _FOLD),
    ),
    "space before the colon": (
        Refused("space", _ok(b"X-A : 1\r\nContent-Length: 2\r\n", b"ok"), _COLON),
        Refused("tab", _ok(b"X-A\t: 1\r\nContent-Length: 2\r\n", b"ok"), _COLON),
        Refused("Content-Length", _ok(b"Content-Length : 2\r\n", b"ok"), _COLON),
        Refused("Transfer-Encoding", _ok(b"Transfer-Encoding : chunked\r\n", b"0\r\n\r\n"), _COLON),
        Refused("within a name", _ok(b"X A: 1\r\nContent-Length: 2\r\n", b"ok"), _NAME),
    ),
    "field names": (
        Refused("no name", _ok(b": 1\r\nContent-Length: 2\r\n", b"ok"), _NAME),
        Refused("no colon", _ok(b"X-A\r\nContent-Length: 2\r\n", b"ok"), _NAME),
        Refused("brackets", _ok(b"X[A]: 1\r\nContent-Length: 2\r\n", b"ok"), _NAME),
        Refused("vertical tab", _ok(b"\x0bTransfer-Encoding: chunked\r\n", b"0\r\n\r\n"), _NAME),
    ),
    "NUL and other control bytes": (
        Refused("NUL in a value", _ok(b"X-A: 1\x002\r\nContent-Length: 2\r\n", b"ok"), _VALUE),
        Refused("NUL in a name", _ok(b"X\x00A: 1\r\nContent-Length: 2\r\n", b"ok"), _NAME),
        Refused("NUL in Content-Length", _ok(b"Content-Length: 2\x00\r\n", b"ok"), _VALUE),
        Refused("NUL in Transfer-Encoding", _ok(b"Transfer-Encoding: chunked\x00\r\n", b"0\r\n\r\n"), _VALUE),
        Refused("NUL in the reason", _ok(b"Content-Length: 2\r\n", b"ok", b"HTTP/1.1 200 O\x00K"), _STATUS),
        Refused("NUL in a chunk size", _chunked(b"2\x00\r\nok\r\n0\r\n\r\n"), _CHUNK, is_in_body=True),
        Refused("BEL in a value", _ok(b"X-A: 1\x07\r\nContent-Length: 2\r\n", b"ok"), _VALUE),
        Refused("DEL in a value", _ok(b"X-A: 1\x7f\r\nContent-Length: 2\r\n", b"ok"), _VALUE),
    ),
    "bad chunk sizes": (
        Refused("not hexadecimal", _chunked(b"g\r\nok\r\n0\r\n\r\n"), _CHUNK, is_in_body=True),
        Refused("prefix 0x", _chunked(b"0x2\r\nok\r\n0\r\n\r\n"), _CHUNK, is_in_body=True),
        Refused("a sign", _chunked(b"+2\r\nok\r\n0\r\n\r\n"), _CHUNK, is_in_body=True),
        Refused("negative", _chunked(b"-2\r\nok\r\n0\r\n\r\n"), _CHUNK, is_in_body=True),
        Refused("empty", _chunked(b"\r\nok\r\n0\r\n\r\n"), _CHUNK, is_in_body=True),
        Refused("space before it", _chunked(b" 2\r\nok\r\n0\r\n\r\n"), _CHUNK, is_in_body=True),
        Refused("space after it", _chunked(b"2 \r\nok\r\n0\r\n\r\n"), _CHUNK, is_in_body=True),
        Refused("sixteen digits", _chunked(b"0000000000000002\r\nok\r\n0\r\n\r\n"), _CHUNK, is_in_body=True),
        Refused("wraps 64 bits", _chunked(b"10000000000000002\r\nok\r\n0\r\n\r\n"), _CHUNK, is_in_body=True),
        Refused("bare LF after it", _chunked(b"2\nok\r\n0\r\n\r\n"), _EOL, is_in_body=True),
        Refused("bare CR after it", _chunked(b"2\rok\r\n0\r\n\r\n"), _CR, is_in_body=True),
        Refused("bare LF in an extension", _chunked(b"2;a\nb\r\nok\r\n0\r\n\r\n"), _EOL, is_in_body=True),
        Refused(
            "an endless extension", _chunked(b"2;" + b"a" * 2000 + b"\r\nok\r\n"), _CHUNK, is_in_body=True
        ),
        Refused("data too short", _chunked(b"5\r\nok\r\n0\r\n\r\n"), _CHUNK, is_in_body=True),
        Refused("data too long", _chunked(b"2\r\nokok\r\n0\r\n\r\n"), _CHUNK, is_in_body=True),
        Refused("no CRLF after data", _chunked(b"2\r\nok0\r\n\r\n"), _CHUNK, is_in_body=True),
        Refused("a plain body", _chunked(b"ok"), _CHUNK, is_in_body=True, closes=True),
    ),
    "trailer section": (
        Refused("no colon", _chunked(b"0\r\nX-A\r\n\r\n"), _TRAILER, is_in_body=True),
        Refused("obs-fold", _chunked(b"0\r\nX-A: 1\r\n 2\r\n\r\n"), _FOLD, is_in_body=True),
        Refused("bare LF", _chunked(b"0\r\nX-A: 1\nX-B: 2\r\n\r\n"), _EOL, is_in_body=True),
        Refused("another response", _chunked(b"0\r\n" + INJECTED), _TRAILER, is_in_body=True),
    ),
    "status lines": (
        Refused("two digits", _ok(b"Content-Length: 2\r\n", b"ok", b"HTTP/1.1 20 OK"), _STATUS),
        Refused("four digits", _ok(b"Content-Length: 2\r\n", b"ok", b"HTTP/1.1 2000 OK"), _STATUS),
        Refused("below 100", _ok(b"Content-Length: 2\r\n", b"ok", b"HTTP/1.1 099 OK"), _STATUS),
        Refused("above 599", _ok(b"Content-Length: 2\r\n", b"ok", b"HTTP/1.1 600 OK"), _STATUS),
        Refused("no number", _ok(b"Content-Length: 2\r\n", b"ok", b"HTTP/1.1 OK"), _STATUS),
        Refused("a sign", _ok(b"Content-Length: 2\r\n", b"ok", b"HTTP/1.1 +20 OK"), _STATUS),
        Refused("two spaces", _ok(b"Content-Length: 2\r\n", b"ok", b"HTTP/1.1  200 OK"), _STATUS),
        Refused("a tab", _ok(b"Content-Length: 2\r\n", b"ok", b"HTTP/1.1\t200 OK"), _STATUS),
        Refused("HTTP/0.9", b"<html>ok</html>\r\n\r\n", _STATUS),
        Refused("HTTP/2.0", _ok(b"Content-Length: 2\r\n", b"ok", b"HTTP/2.0 200 OK"), _VERSION),
        Refused("HTTP/1.2", _ok(b"Content-Length: 2\r\n", b"ok", b"HTTP/1.2 200 OK"), _VERSION),
        Refused("lower case", _ok(b"Content-Length: 2\r\n", b"ok", b"http/1.1 200 OK"), _STATUS),
        Refused("an empty line before it", b"\r\n" + _ok(b"Content-Length: 2\r\n", b"ok"), _STATUS),
        Refused("a request", b"GET / HTTP/1.1\r\nHost: a\r\n\r\n", _STATUS),
    ),
    "bodies where none may be": (
        Refused("coding in a 204", _ok(b"Transfer-Encoding: chunked\r\n", line=b"HTTP/1.1 204 x"), _NO_BODY),
        Refused("length in a 204", _ok(b"Content-Length: 2\r\n", b"ok", b"HTTP/1.1 204 x"), _NO_BODY),
        Refused("coding in a 103", _ok(b"Transfer-Encoding: chunked\r\n", line=b"HTTP/1.1 103 x"), _NO_BODY),
        Refused("length in a 100", _ok(b"Content-Length: 2\r\n", b"ok", b"HTTP/1.1 100 x"), _NO_BODY),
    ),
    "Connection that names what frames the message": (
        Refused(
            "Content-Length", _ok(b"Content-Length: 2\r\nConnection: content-length\r\n", b"ok"), _CONNECTION
        ),
        Refused(
            "Transfer-Encoding",
            _ok(b"Transfer-Encoding: chunked\r\nConnection: Transfer-Encoding\r\n", b"0\r\n\r\n"),
            _CONNECTION,
        ),
        Refused("no token", _ok(b"Content-Length: 2\r\nConnection: keep alive\r\n", b"ok"), _CONNECTION),
        Refused("quoted", _ok(b'Content-Length: 2\r\nConnection: "close"\r\n', b"ok"), _CONNECTION),
    ),
    "interim responses": (
        Refused(
            "101 unasked", _ok(b"Upgrade: a\r\nConnection: upgrade\r\n", line=b"HTTP/1.1 101 x"), _INTERIM
        ),
        Refused("100 without end", b"HTTP/1.1 100 Continue\r\n\r\n" * 50, _INTERIM),
        Refused("malformed after 100", b"HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 200 OK\n\n", _EOL),
        Refused("closed after 100", b"HTTP/1.1 100 Continue\r\n\r\n", _SHORT, closes=True),
    ),
    "incomplete": (
        Refused("length", _ok(b"Content-Length: 5\r\n", b"ok"), _SHORT, is_in_body=True, closes=True),
        Refused("no last chunk", _chunked(b"2\r\nok\r\n"), _SHORT, is_in_body=True, closes=True),
        Refused("no end of trailers", _chunked(b"2\r\nok\r\n0\r\n"), _SHORT, is_in_body=True, closes=True),
        Refused("within a chunk", _chunked(b"5\r\nok"), _SHORT, is_in_body=True, closes=True),
        Refused("within a chunk size", _chunked(b"2\r\nok\r\n1"), _SHORT, is_in_body=True, closes=True),
    ),
    "limits": (
        Refused(
            "a field too large", _ok(b"X-A: " + b"a" * 70000 + b"\r\nContent-Length: 2\r\n", b"ok"), _LIMIT
        ),
        Refused("a field without end", b"HTTP/1.1 200 OK\r\nX-A: " + b"a" * 70000, _LIMIT),
        Refused("a status line without end", b"HTTP/1.1 200 " + b"a" * 70000, _LIMIT),
        Refused("too many fields", _ok(b"X-A: 1\r\n" * 5000 + b"Content-Length: 2\r\n", b"ok"), _LIMIT),
    ),
}

ACCEPTED: tuple[Accepted, ...] = (
    Accepted(
        "a length", _ok(b"Content-Length: 2\r\n", b"ok"), body=b"ok", fields=((b"content-length", b"2"),)
    ),
    Accepted("length 0", _ok(b"Content-Length: 0\r\n")),
    Accepted("length with zeros", _ok(b"Content-Length: 002\r\n", b"ok"), body=b"ok"),
    Accepted("chunked", _chunked(b"2\r\nok\r\n1\r\n!\r\n0\r\n\r\n"), body=b"ok!"),
    Accepted(
        "chunked in odd case", _ok(b"transfer-encoding: CHUNKED\r\n", b"1\r\na\r\n0\r\n\r\n"), body=b"a"
    ),
    Accepted("chunked without data", _chunked(b"0\r\n\r\n")),
    Accepted("chunk extensions and zeros", _chunked(b'002;a="b"\r\nok\r\n000\r\n\r\n'), body=b"ok"),
    Accepted("CRLF as chunk data", _chunked(b"5\r\n\r\n0\r\n\r\n0\r\n\r\n"), body=b"\r\n0\r\n"),
    Accepted("until the connection closes", _ok(b"", b"ok"), body=b"ok", is_kept=False, closes=True),
    Accepted("nothing until it closes", _ok(b""), is_kept=False, closes=True),
    Accepted(
        "HTTP/1.0 until it closes",
        _ok(b"", b"ok", b"HTTP/1.0 200 OK"),
        body=b"ok",
        is_kept=False,
        closes=True,
    ),
    Accepted("HTTP/1.0", _ok(b"Content-Length: 2\r\n", b"ok", b"HTTP/1.0 200 OK"), body=b"ok", is_kept=False),
    Accepted(
        "HTTP/1.0 that keeps its connection",
        _ok(b"Content-Length: 2\r\nConnection: keep-alive\r\n", b"ok", b"HTTP/1.0 200 OK"),
        body=b"ok",
    ),
    Accepted(
        "Connection: close",
        _ok(b"Content-Length: 2\r\nConnection: close\r\n", b"ok"),
        body=b"ok",
        is_kept=False,
    ),
    Accepted("no reason phrase", _ok(b"Content-Length: 2\r\n", b"ok", b"HTTP/1.1 200 "), body=b"ok"),
    Accepted(
        "no reason phrase and no space", _ok(b"Content-Length: 2\r\n", b"ok", b"HTTP/1.1 200"), body=b"ok"
    ),
    Accepted(
        "a reason in UTF-8", _ok(b"Content-Length: 2\r\n", b"ok", "HTTP/1.1 200 völlig".encode()), body=b"ok"
    ),
    Accepted(
        "a status unheard of", _ok(b"Content-Length: 2\r\n", b"ok", b"HTTP/1.1 299 x"), status=299, body=b"ok"
    ),
    Accepted("204", _ok(b"", line=b"HTTP/1.1 204 No Content"), status=204),
    Accepted("204 with length 0", _ok(b"Content-Length: 0\r\n", line=b"HTTP/1.1 204 No Content"), status=204),
    Accepted(
        "304 with a length", _ok(b"Content-Length: 9\r\n", line=b"HTTP/1.1 304 Not Modified"), status=304
    ),
    Accepted(
        "HEAD with a length",
        _ok(b"Content-Length: 9\r\n"),
        method=b"HEAD",
        fields=((b"content-length", b"9"),),
    ),
    Accepted("HEAD with a coding", _ok(b"Transfer-Encoding: chunked\r\n"), method=b"HEAD"),
    Accepted("HEAD without either", _ok(b""), method=b"HEAD"),
    Accepted("an empty value", _ok(b"X-A:\r\nContent-Length: 0\r\n"), fields=((b"x-a", b""),)),
    Accepted(
        "UTF-8 in a value", _ok("X-A: ä\r\nContent-Length: 0\r\n".encode()), fields=((b"x-a", "ä".encode()),)
    ),
    Accepted(
        "interim responses before it",
        b"HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 103 Early Hints\r\nLink: </a>\r\n\r\n"
        + _ok(b"Content-Length: 2\r\n", b"ok"),
        body=b"ok",
    ),
    Accepted(
        "left over: another response",
        _ok(b"Content-Length: 2\r\n", b"ok" + INJECTED),
        body=b"ok",
        is_kept=False,
    ),
    Accepted(
        "left over: bytes after chunks",
        _chunked(b"2\r\nok\r\n0\r\n\r\n" + INJECTED),
        body=b"ok",
        is_kept=False,
    ),
    Accepted(
        "left over: a body after HEAD", _ok(b"Content-Length: 2\r\n", b"ok"), method=b"HEAD", is_kept=False
    ),
    Accepted(
        "left over: a body after 304",
        _ok(b"Content-Length: 2\r\n", b"ok", b"HTTP/1.1 304 Not Modified"),
        status=304,
        is_kept=False,
    ),
)

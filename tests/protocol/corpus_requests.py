"""Requests that have more than one reading, or none.

A refused request is answered with the status given, its connection is closed and no target gets
a whole request out of it. `rfc` quotes where the rule stands, `is_in_body` marks what only shows
after the head: the target may have seen the head by then, but never the end of the message.
"""

from __future__ import annotations

from typing import NamedTuple

HOST = b"Host: shop.example\r\n"
SMUGGLED = b"GET /smuggled HTTP/1.1\r\nHost: shop.example\r\n\r\n"


class Refused(NamedTuple):
    """A request that must not reach a target."""

    name: str
    data: bytes
    rfc: str
    status: int = 400
    is_in_body: bool = False


def with_fields(fields: bytes = b"", line: bytes = b"GET / HTTP/1.1") -> bytes:
    return line + b"\r\n" + HOST + fields + b"\r\n"


def with_body(fields: bytes, body: bytes) -> bytes:
    return b"POST / HTTP/1.1\r\n" + HOST + fields + b"\r\n" + body


def in_chunks(body: bytes) -> bytes:
    return with_body(b"Transfer-Encoding: chunked\r\n", body)


_BOTH = "RFC 9112 6.1: a Transfer-Encoding with a Content-Length may be an attempt at smuggling"
_CODING = "RFC 9112 6.1: a server that does not understand a transfer coding responds with 501"
_FINAL = "RFC 9112 6.3: a request whose final transfer coding is not chunked, once, MUST get a 400"
_LENGTH = "RFC 9110 8.6: Content-Length = 1*DIGIT; RFC 9112 6.3: an invalid one is unrecoverable, 400"
_EOL = "RFC 9112 2.2: CRLF ends a line; that a recipient MAY take a lone LF is not used"
_CR = "RFC 9112 2.2: a bare CR is invalid, or a space, before anything else is read"
_FOLD = "RFC 9112 5.2: a server that receives obs-fold MUST reject it with a 400 or replace it"
_COLON = "RFC 9112 5.1: no whitespace between field name and colon; a server MUST reject it with a 400"
_VALUE = "RFC 9110 5.5: CR, LF and NUL in a field value are invalid and dangerous"
_NAME = "RFC 9110 5.1: field-name = token"
_CHUNK = "RFC 9112 7.1: chunk = chunk-size [ chunk-ext ] CRLF chunk-data CRLF; chunk-size = 1*HEXDIG"
_TRAILER = "RFC 9112 7.1.2: trailer-section = *( field-line CRLF )"
_HOST = "RFC 9112 3.2: a request without exactly one valid Host MUST get a 400"
_TARGET = "RFC 9112 3: request-target has no whitespace or control bytes; an invalid line SHOULD get a 400"
_ABSOLUTE = "RFC 9112 3.2.2: absolute-form and Host that differ have two readings; limpet takes none"
_LINE = "RFC 9112 3: request-line = method SP request-target SP HTTP-version"
_VERSION = "RFC 9110 15.6.6: a major version that is not supported gets a 505"
_CONNECTION = "RFC 9110 7.6.1: Connection lists tokens; a framing field is none of its options"
_EXPECT = "RFC 9110 10.1.1: an expectation other than 100-continue gets a 417"
_LIMIT = "RFC 6585 5 and RFC 9110 15.5.15: a head over the limit gets a 431, its line alone a 414"
_METHOD = "RFC 9110 9.3.6, 9.3.8 and 15.6.2: a method that is not supported for any resource gets a 501"

REFUSED: dict[str, tuple[Refused, ...]] = {
    "Content-Length with Transfer-Encoding": (
        Refused(
            "length first",
            with_body(b"Content-Length: 6\r\nTransfer-Encoding: chunked\r\n", b"0\r\n\r\n" + SMUGGLED),
            _BOTH,
        ),
        Refused(
            "coding first",
            with_body(b"Transfer-Encoding: chunked\r\nContent-Length: 6\r\n", b"0\r\n\r\n" + SMUGGLED),
            _BOTH,
        ),
        Refused(
            "length 0",
            with_body(b"Content-Length: 0\r\nTransfer-Encoding: chunked\r\n", b"0\r\n\r\n" + SMUGGLED),
            _BOTH,
        ),
        Refused(
            "both odd in case",
            with_body(b"CONTENT-LENGTH: 6\r\ntransfer-ENCODING: Chunked\r\n", b"0\r\n\r\n" + SMUGGLED),
            _BOTH,
        ),
        Refused(
            "in a GET",
            with_fields(b"Content-Length: 5\r\nTransfer-Encoding: chunked\r\n") + b"0\r\n\r\n",
            _BOTH,
        ),
        Refused(
            "coding not understood either",
            with_body(b"Content-Length: 3\r\nTransfer-Encoding: xchunked\r\n", b"abc" + SMUGGLED),
            _BOTH,
        ),
        Refused(
            "in HTTP/1.0",
            b"POST / HTTP/1.0\r\n"
            + HOST
            + b"Content-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n"
            + SMUGGLED,
            _BOTH,
        ),
    ),
    "transfer codings": (
        Refused("in HTTP/1.0", b"POST / HTTP/1.0\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n", _BOTH),
        Refused("two lines", with_body(b"Transfer-Encoding: chunked\r\n" * 2, b"0\r\n\r\n"), _CODING),
        Refused("chunked twice", with_body(b"Transfer-Encoding: chunked, chunked\r\n", b"0\r\n\r\n"), _FINAL),
        Refused("unknown", with_body(b"Transfer-Encoding: xchunked\r\n", b"0\r\n\r\n"), _FINAL),
        Refused("identity", with_body(b"Transfer-Encoding: identity\r\n", SMUGGLED), _CODING, 501),
        Refused("gzip below", with_body(b"Transfer-Encoding: gzip, chunked\r\n", b"0\r\n\r\n"), _CODING, 501),
        Refused(
            "chunked not last", with_body(b"Transfer-Encoding: chunked, identity\r\n", b"0\r\n\r\n"), _FINAL
        ),
        Refused("quoted", with_body(b'Transfer-Encoding: "chunked"\r\n', b"0\r\n\r\n"), _FINAL),
        Refused("parameter", with_body(b"Transfer-Encoding: chunked;q=1\r\n", b"0\r\n\r\n"), _FINAL),
        Refused("vertical tab", with_body(b"Transfer-Encoding: \x0bchunked\r\n", b"0\r\n\r\n"), _VALUE),
        Refused("no-break space", with_body(b"Transfer-Encoding: chunked\xa0\r\n", b"0\r\n\r\n"), _FINAL),
        Refused("empty", with_body(b"Transfer-Encoding:\r\n", b"0\r\n\r\n"), _FINAL),
        Refused("comma only", with_body(b"Transfer-Encoding: ,chunked\r\n", b"0\r\n\r\n"), _FINAL),
    ),
    "repeated or odd lengths": (
        Refused(
            "two that differ", with_body(b"Content-Length: 3\r\nContent-Length: 4\r\n", b"abcd"), _LENGTH
        ),
        Refused("two that agree", with_body(b"Content-Length: 3\r\nContent-Length: 3\r\n", b"abc"), _LENGTH),
        Refused("a list", with_body(b"Content-Length: 3, 3\r\n", b"abc"), _LENGTH),
        Refused("a sign", with_body(b"Content-Length: +3\r\n", b"abc"), _LENGTH),
        Refused("negative", with_body(b"Content-Length: -1\r\n", b"abc"), _LENGTH),
        Refused("hexadecimal", with_body(b"Content-Length: 0x3\r\n", b"abc"), _LENGTH),
        Refused("a fraction", with_body(b"Content-Length: 3.0\r\n", b"abc"), _LENGTH),
        Refused("an exponent", with_body(b"Content-Length: 1e1\r\n", b"abc"), _LENGTH),
        Refused("an underscore", with_body(b"Content-Length: 1_0\r\n", b"abc"), _LENGTH),
        Refused("a space within", with_body(b"Content-Length: 1 0\r\n", b"abc"), _LENGTH),
        Refused("empty", with_body(b"Content-Length:\r\n", b"abc"), _LENGTH),
        Refused(
            "too long for any integer", with_body(b"Content-Length: " + b"9" * 40 + b"\r\n", b"abc"), _LENGTH
        ),
        Refused(
            "two to the 64 plus 3", with_body(b"Content-Length: 18446744073709551619\r\n", b"abc"), _LENGTH
        ),
        Refused("digits of another script", with_body("Content-Length: ٣\r\n".encode(), b"abc"), _LENGTH),
        Refused("superscript in Latin-1", with_body(b"Content-Length: \xb3\r\n", b"abc"), _LENGTH),
        Refused("a form feed", with_body(b"Content-Length: 3\x0c\r\n", b"abc"), _VALUE),
        Refused("a semicolon", with_body(b"Content-Length: 3;3\r\n", b"abc"), _LENGTH),
    ),
    "bare LF": (
        Refused("after the request line", b"GET / HTTP/1.1\n" + HOST + b"\r\n", _EOL),
        Refused("after a field", with_fields(b"X-A: 1\nX-B: 2\r\n"), _EOL),
        Refused("before the last field's CRLF", with_fields(b"X-A: 1\n\r\n"), _EOL),
        Refused("as the empty line", b"GET / HTTP/1.1\r\n" + HOST + b"\n", _EOL),
        Refused("everywhere", b"GET / HTTP/1.1\nHost: shop.example\n\n", _EOL),
        Refused("LF CR LF", b"GET / HTTP/1.1\r\nHost: shop.example\n\r\n", _EOL),
        Refused("hides a length", with_body(b"X-A: 1\nContent-Length: 46\r\n", SMUGGLED), _EOL),
        Refused("hides a coding", with_body(b"X-A: 1\nTransfer-Encoding: chunked\r\n", b"0\r\n\r\n"), _EOL),
        Refused("before the request line", b"\n" + with_fields(), _EOL),
        Refused("CR CR LF", b"GET / HTTP/1.1\r\nHost: shop.example\r\r\n\r\n", _CR),
        Refused("bare CR in a value", with_fields(b"X-A: 1\rX-B: 2\r\n"), _CR),
        Refused(
            "bare CR before a coding", with_body(b"X-A: 1\rTransfer-Encoding: chunked\r\n", b"0\r\n\r\n"), _CR
        ),
        Refused("bare CR after the version", b"GET / HTTP/1.1\r" + HOST + b"\r\n\r\n", _CR),
    ),
    "obs-fold": (
        Refused("space", with_fields(b"X-A: 1\r\n 2\r\n"), _FOLD),
        Refused("tab", with_fields(b"X-A: 1\r\n\t2\r\n"), _FOLD),
        Refused("empty continuation", with_fields(b"X-A: 1\r\n \r\n"), _FOLD),
        Refused(
            "of Transfer-Encoding", with_body(b"Transfer-Encoding:\r\n chunked\r\n", b"0\r\n\r\n"), _FOLD
        ),
        Refused("of Content-Length", with_body(b"Content-Length: 1\r\n 0\r\n", b"abc"), _FOLD),
        Refused("of Host", b"GET / HTTP/1.1\r\nHost: shop.example\r\n .evil.example\r\n\r\n", _FOLD),
        Refused("first line", b"GET / HTTP/1.1\r\n X-A: 1\r\n" + HOST + b"\r\n", _FOLD),
        Refused("hides a field", with_fields(b"X-A: 1\r\n Content-Length: 5\r\n"), _FOLD),
    ),
    "space before the colon": (
        Refused("space", with_fields(b"X-A : 1\r\n"), _COLON),
        Refused("tab", with_fields(b"X-A\t: 1\r\n"), _COLON),
        Refused("Content-Length", with_body(b"Content-Length : 3\r\n", b"abc"), _COLON),
        Refused("Transfer-Encoding", with_body(b"Transfer-Encoding : chunked\r\n", b"0\r\n\r\n"), _COLON),
        Refused("Host", b"GET / HTTP/1.1\r\nHost : shop.example\r\n\r\n", _COLON),
        Refused("within a name", with_fields(b"X A: 1\r\n"), _NAME),
    ),
    "field names": (
        Refused("no name", with_fields(b": 1\r\n"), _NAME),
        Refused("no colon", with_fields(b"X-A\r\n"), _NAME),
        Refused("brackets", with_fields(b"X[A]: 1\r\n"), _NAME),
        Refused("outside ASCII", with_fields(b"X-\xc3\xa4: 1\r\n"), _NAME),
        Refused("vertical tab", with_body(b"\x0bTransfer-Encoding: chunked\r\n", b"0\r\n\r\n"), _NAME),
        Refused("slash", with_fields(b"X/A: 1\r\n"), _NAME),
        Refused("quotation marks", with_fields(b'"X-A": 1\r\n'), _NAME),
        Refused("DEL", with_fields(b"X-A\x7f: 1\r\n"), _NAME),
    ),
    "NUL": (
        Refused("in a value", with_fields(b"X-A: 1\x002\r\n"), _VALUE),
        Refused("at the end of a value", with_fields(b"X-A: 1\x00\r\n"), _VALUE),
        Refused("in a name", with_fields(b"X\x00A: 1\r\n"), _NAME),
        Refused("in the target", with_fields(line=b"GET /a\x00b HTTP/1.1"), _TARGET),
        Refused("in the method", with_fields(line=b"G\x00T / HTTP/1.1"), _LINE),
        Refused("in Host", b"GET / HTTP/1.1\r\nHost: shop\x00.example\r\n\r\n", _VALUE),
        Refused("in Content-Length", with_body(b"Content-Length: 3\x00\r\n", b"abc"), _VALUE),
        Refused(
            "in Transfer-Encoding", with_body(b"Transfer-Encoding: chunked\x00\r\n", b"0\r\n\r\n"), _VALUE
        ),
        Refused("in a chunk size", in_chunks(b"3\x00\r\nabc\r\n0\r\n\r\n"), _CHUNK, is_in_body=True),
    ),
    "other control bytes in values": (
        Refused("BEL", with_fields(b"X-A: 1\x07\r\n"), _VALUE),
        Refused("ESC", with_fields(b"X-A: \x1b[31m\r\n"), _VALUE),
        Refused("DEL", with_fields(b"X-A: 1\x7f\r\n"), _VALUE),
        Refused("backspace in Cookie", with_fields(b"Cookie: a=\x08\r\n"), _VALUE),
    ),
    "bad chunk sizes": (
        Refused("not hexadecimal", in_chunks(b"g\r\nabc\r\n0\r\n\r\n"), _CHUNK, is_in_body=True),
        Refused("prefix 0x", in_chunks(b"0x3\r\nabc\r\n0\r\n\r\n"), _CHUNK, is_in_body=True),
        Refused("a sign", in_chunks(b"+3\r\nabc\r\n0\r\n\r\n"), _CHUNK, is_in_body=True),
        Refused("negative", in_chunks(b"-3\r\nabc\r\n0\r\n\r\n"), _CHUNK, is_in_body=True),
        Refused(
            "an underscore", in_chunks(b"1_0\r\n" + b"a" * 16 + b"\r\n0\r\n\r\n"), _CHUNK, is_in_body=True
        ),
        Refused("empty", in_chunks(b"\r\nabc\r\n0\r\n\r\n"), _CHUNK, is_in_body=True),
        Refused("space before it", in_chunks(b" 3\r\nabc\r\n0\r\n\r\n"), _CHUNK, is_in_body=True),
        Refused("space after it", in_chunks(b"3 \r\nabc\r\n0\r\n\r\n"), _CHUNK, is_in_body=True),
        Refused(
            "sixteen digits", in_chunks(b"0000000000000003\r\nabc\r\n0\r\n\r\n"), _CHUNK, is_in_body=True
        ),
        Refused(
            "wraps 64 bits", in_chunks(b"10000000000000003\r\nabc\r\n0\r\n\r\n"), _CHUNK, is_in_body=True
        ),
        Refused("wraps 32 bits", in_chunks(b"0" * 20 + b"3\r\nabc\r\n0\r\n\r\n"), _CHUNK, is_in_body=True),
        Refused("bare LF after it", in_chunks(b"3\nabc\r\n0\r\n\r\n"), _EOL, is_in_body=True),
        Refused("bare CR after it", in_chunks(b"3\rabc\r\n0\r\n\r\n"), _CR, is_in_body=True),
        Refused("bare LF in an extension", in_chunks(b"3;a\nb\r\nabc\r\n0\r\n\r\n"), _EOL, is_in_body=True),
        Refused("bare CR in an extension", in_chunks(b"3;a\rb\r\nabc\r\n0\r\n\r\n"), _CR, is_in_body=True),
        Refused("NUL in an extension", in_chunks(b"3;a\x00\r\nabc\r\n0\r\n\r\n"), _CHUNK, is_in_body=True),
        Refused("a comma for a semicolon", in_chunks(b"3,a\r\nabc\r\n0\r\n\r\n"), _CHUNK, is_in_body=True),
        Refused(
            "an endless extension", in_chunks(b"3;" + b"a" * 2000 + b"\r\nabc\r\n"), _CHUNK, is_in_body=True
        ),
        Refused(
            "a body of extensions",
            in_chunks((b"1;" + b"a" * 900 + b"\r\nx\r\n") * 20),
            _CHUNK,
            is_in_body=True,
        ),
        Refused("bare LF after the last", in_chunks(b"3\r\nabc\r\n0\n\r\n"), _EOL, is_in_body=True),
        Refused("bare LF at the end", in_chunks(b"3\r\nabc\r\n0\r\n\n"), _EOL, is_in_body=True),
        Refused("not hexadecimal later", in_chunks(b"3\r\nabc\r\nz\r\n"), _CHUNK, is_in_body=True),
    ),
    "chunk data": (
        Refused("too short", in_chunks(b"5\r\nabc\r\n0\r\n\r\n"), _CHUNK, is_in_body=True),
        Refused("too long", in_chunks(b"3\r\nabcde\r\n0\r\n\r\n"), _CHUNK, is_in_body=True),
        Refused("no CRLF after it", in_chunks(b"3\r\nabc0\r\n\r\n"), _CHUNK, is_in_body=True),
        Refused("LF after it", in_chunks(b"3\r\nabc\n0\r\n\r\n"), _EOL, is_in_body=True),
        Refused("CR after it", in_chunks(b"3\r\nabc\r0\r\n\r\n"), _CR, is_in_body=True),
    ),
    "trailer section": (
        Refused("no colon", in_chunks(b"0\r\nX-A\r\n\r\n"), _TRAILER, is_in_body=True),
        Refused("space before the colon", in_chunks(b"0\r\nX-A : 1\r\n\r\n"), _COLON, is_in_body=True),
        Refused("obs-fold", in_chunks(b"0\r\nX-A: 1\r\n 2\r\n\r\n"), _FOLD, is_in_body=True),
        Refused("bare LF", in_chunks(b"0\r\nX-A: 1\nX-B: 2\r\n\r\n"), _EOL, is_in_body=True),
        Refused("NUL", in_chunks(b"0\r\nX-A: 1\x00\r\n\r\n"), _VALUE, is_in_body=True),
        Refused("another request", in_chunks(b"0\r\nGET / HTTP/1.1\r\n\r\n"), _TRAILER, is_in_body=True),
        Refused(
            "too much of it",
            in_chunks(b"0\r\n" + (b"X-A: " + b"a" * 900 + b"\r\n") * 20),
            _LIMIT,
            is_in_body=True,
        ),
    ),
    "missing or double Host": (
        Refused("missing", b"GET / HTTP/1.1\r\nX-A: 1\r\n\r\n", _HOST),
        Refused("no field at all", b"GET / HTTP/1.1\r\n\r\n", _HOST),
        Refused("twice the same", with_fields(HOST), _HOST),
        Refused("two that differ", with_fields(b"Host: evil.example\r\n"), _HOST),
        Refused("two in odd case", with_fields(b"hOsT: evil.example\r\n"), _HOST),
        Refused("twice in HTTP/1.0", b"GET / HTTP/1.0\r\n" + HOST + HOST + b"\r\n", _HOST),
        Refused("empty", b"GET / HTTP/1.1\r\nHost:\r\n\r\n", _HOST),
        Refused("missing from absolute-form", b"GET http://shop.example/ HTTP/1.1\r\n\r\n", _HOST),
    ),
    "invalid Host": (
        Refused("a list", b"GET / HTTP/1.1\r\nHost: shop.example, evil.example\r\n\r\n", _HOST),
        Refused("a space", b"GET / HTTP/1.1\r\nHost: shop.example evil.example\r\n\r\n", _HOST),
        Refused("a path", b"GET / HTTP/1.1\r\nHost: shop.example/evil\r\n\r\n", _HOST),
        Refused("user information", b"GET / HTTP/1.1\r\nHost: shop.example@evil.example\r\n\r\n", _HOST),
        Refused("a query", b"GET / HTTP/1.1\r\nHost: shop.example?a\r\n\r\n", _HOST),
        Refused("a fragment", b"GET / HTTP/1.1\r\nHost: shop.example#a\r\n\r\n", _HOST),
        Refused("a word as its port", b"GET / HTTP/1.1\r\nHost: shop.example:http\r\n\r\n", _HOST),
        Refused("two ports", b"GET / HTTP/1.1\r\nHost: shop.example:80:81\r\n\r\n", _HOST),
        Refused("a backslash", b"GET / HTTP/1.1\r\nHost: shop.example\\evil\r\n\r\n", _HOST),
        Refused("an open bracket", b"GET / HTTP/1.1\r\nHost: [::1\r\n\r\n", _HOST),
        Refused("outside ASCII", "GET / HTTP/1.1\r\nHost: shöp.example\r\n\r\n".encode(), _HOST),
    ),
    "absolute-form that disagrees with Host": (
        Refused("another host", with_fields(line=b"GET http://evil.example/ HTTP/1.1"), _ABSOLUTE),
        Refused("another port", with_fields(line=b"GET http://shop.example:8080/ HTTP/1.1"), _ABSOLUTE),
        Refused(
            "user information", with_fields(line=b"GET http://shop.example@evil.example/ HTTP/1.1"), _ABSOLUTE
        ),
        Refused("user and host", with_fields(line=b"GET http://user@shop.example/ HTTP/1.1"), _ABSOLUTE),
        Refused("no host", with_fields(line=b"GET http:/// HTTP/1.1"), _ABSOLUTE),
        Refused(
            "a longer host", with_fields(line=b"GET http://shop.example.evil.example/ HTTP/1.1"), _ABSOLUTE
        ),
        Refused(
            "a backslash", with_fields(line=b"GET http://shop.example\\@evil.example/ HTTP/1.1"), _ABSOLUTE
        ),
        Refused("in HTTP/1.0", with_fields(line=b"GET http://evil.example/ HTTP/1.0"), _ABSOLUTE),
        Refused("another scheme", with_fields(line=b"GET ftp://shop.example/ HTTP/1.1"), _ABSOLUTE),
        Refused(
            "without any Host, in HTTP/1.0",
            b"GET http://shop.example/ HTTP/1.0\r\n\r\n",
            "RFC 9112 3.2.2: the URL's host is the Host; a target would be told another",
        ),
    ),
    "control bytes in the target": (
        Refused("tab", with_fields(line=b"GET /a\tb HTTP/1.1"), _TARGET),
        Refused("ESC", with_fields(line=b"GET /a\x1bb HTTP/1.1"), _TARGET),
        Refused("DEL", with_fields(line=b"GET /a\x7fb HTTP/1.1"), _TARGET),
        Refused("SOH", with_fields(line=b"GET /\x01 HTTP/1.1"), _TARGET),
        Refused("bare CR", with_fields(line=b"GET /a\rb HTTP/1.1"), _TARGET),
        Refused("bare LF", with_fields(line=b"GET /a\nb HTTP/1.1"), _TARGET),
        Refused("in absolute-form", with_fields(line=b"GET http://shop.example/\x1f HTTP/1.1"), _TARGET),
        Refused("in the query", with_fields(line=b"GET /?a=\x02 HTTP/1.1"), _TARGET),
    ),
    "request targets": (
        Refused("a space", with_fields(line=b"GET /a b HTTP/1.1"), _LINE),
        Refused("outside ASCII", with_fields(line=b"GET /\xc3\xa4 HTTP/1.1"), _TARGET),
        Refused("a lone high byte", with_fields(line=b"GET /\xff HTTP/1.1"), _TARGET),
        Refused("a fragment", with_fields(line=b"GET /a#b HTTP/1.1"), _TARGET),
        Refused(
            "a fragment in absolute-form", with_fields(line=b"GET http://shop.example/#b HTTP/1.1"), _TARGET
        ),
        Refused("no slash", with_fields(line=b"GET a HTTP/1.1"), _TARGET),
        Refused("authority-form", with_fields(line=b"GET shop.example:80 HTTP/1.1"), _TARGET),
        Refused("an asterisk, but no OPTIONS", with_fields(line=b"GET * HTTP/1.1"), _TARGET),
        Refused("a query only", with_fields(line=b"GET ?a HTTP/1.1"), _TARGET),
    ),
    "request lines": (
        Refused("two spaces before the target", with_fields(line=b"GET  / HTTP/1.1"), _LINE),
        Refused("two spaces before the version", with_fields(line=b"GET /  HTTP/1.1"), _LINE),
        Refused("a space at the end", with_fields(line=b"GET / HTTP/1.1 "), _LINE),
        Refused("a tab for a space", with_fields(line=b"GET\t/ HTTP/1.1"), _LINE),
        Refused("a space at the beginning", with_fields(line=b" GET / HTTP/1.1"), _LINE),
        Refused("no method", with_fields(line=b"/ HTTP/1.1"), _LINE),
        Refused("a method that is no token", with_fields(line=b"GE(T / HTTP/1.1"), _LINE),
        Refused("two empty lines before it", b"\r\n\r\n" + with_fields(), _LINE),
        Refused("a greeting of TLS", b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03" + b"\r\n\r\n", _LINE),
        Refused(
            "a method in lower case",
            with_fields(line=b"get / HTTP/1.1"),
            "RFC 9110 9.1: methods are case-sensitive; a target that reads `head` as HEAD sends no body",
        ),
        Refused("HTTP/0.9", b"GET /\r\n\r\n", _LINE),
        Refused("no version", with_fields(line=b"GET / "), _LINE),
        Refused("a version in lower case", with_fields(line=b"GET / http/1.1"), _LINE),
        Refused("a version with two digits", with_fields(line=b"GET / HTTP/1.11"), _LINE),
        Refused("a version with zeros", with_fields(line=b"GET / HTTP/01.1"), _LINE),
        Refused("a comma in the version", with_fields(line=b"GET / HTTP/1,1"), _LINE),
        Refused("a space in the version", with_fields(line=b"GET / HTTP/ 1.1"), _LINE),
    ),
    "other versions and methods": (
        Refused("HTTP/2.0", with_fields(line=b"GET / HTTP/2.0"), _VERSION, 505),
        Refused("HTTP/0.9 spelled out", with_fields(line=b"GET / HTTP/0.9"), _VERSION, 505),
        Refused("HTTP/1.2", with_fields(line=b"GET / HTTP/1.2"), _VERSION, 505),
        Refused("HTTP/3.0", with_fields(line=b"GET / HTTP/3.0"), _VERSION, 505),
        Refused("the preface of HTTP/2", b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", _VERSION, 505),
        Refused("CONNECT", with_fields(line=b"CONNECT shop.example:443 HTTP/1.1"), _METHOD, 501),
        Refused("CONNECT to a path", with_fields(line=b"CONNECT / HTTP/1.1"), _METHOD, 501),
        Refused("TRACE", with_fields(line=b"TRACE / HTTP/1.1"), _METHOD, 501),
        Refused(
            "TRACE in absolute-form", with_fields(line=b"TRACE http://shop.example/ HTTP/1.1"), _METHOD, 501
        ),
    ),
    "Connection that names what frames the message": (
        Refused("Host", with_fields(b"Connection: host\r\n"), _CONNECTION),
        Refused(
            "Content-Length",
            with_body(b"Content-Length: 3\r\nConnection: Content-Length\r\n", b"abc"),
            _CONNECTION,
        ),
        Refused(
            "Transfer-Encoding",
            with_body(
                b"Transfer-Encoding: chunked\r\nConnection: close, Transfer-Encoding\r\n", b"0\r\n\r\n"
            ),
            _CONNECTION,
        ),
        Refused("no token", with_fields(b"Connection: keep alive\r\n"), _CONNECTION),
        Refused("quoted", with_fields(b'Connection: "close"\r\n'), _CONNECTION),
    ),
    "expectations": (
        Refused("unknown", with_fields(b"Expect: 200-ok\r\n"), _EXPECT, 417),
        Refused("a list", with_fields(b"Expect: 100-continue, 200-ok\r\n"), _EXPECT, 417),
        Refused("empty", with_fields(b"Expect:\r\n"), _EXPECT, 417),
        Refused("a parameter", with_fields(b"Expect: 100-continue;q=1\r\n"), _EXPECT, 417),
    ),
    "limits": (
        Refused("a field too large", with_fields(b"X-A: " + b"a" * 4096 + b"\r\n"), _LIMIT, 431),
        Refused("fields too large together", with_fields((b"X-A: " + b"a" * 500 + b"\r\n") * 9), _LIMIT, 431),
        Refused("too many fields", with_fields(b"X-A: 1\r\n" * 20), _LIMIT, 431),
        Refused("a target too long", with_fields(line=b"GET /" + b"a" * 4096 + b" HTTP/1.1"), _LIMIT, 414),
        Refused("a target without end", b"GET /" + b"a" * 5000, _LIMIT, 414),
        Refused("a field without end", with_fields()[:-2] + b"X-A: " + b"a" * 5000, _LIMIT, 431),
    ),
}
#: What the refused cases of "limits" break.
MAX_HEAD_BYTES = 4096
MAX_HEADERS = 20

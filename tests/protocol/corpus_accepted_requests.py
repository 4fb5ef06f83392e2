"""Requests that must pass, in every spelling that has one reading; the other half of the corpus."""

from __future__ import annotations

from typing import NamedTuple

from corpus_requests import HOST, MAX_HEAD_BYTES, MAX_HEADERS, SMUGGLED, in_chunks, with_body, with_fields


class Accepted(NamedTuple):
    """A request that must reach a target, and how it must be understood there."""

    name: str
    data: bytes
    method: bytes = b"GET"
    path: bytes = b"/"
    body: bytes = b""
    fields: tuple[tuple[bytes, bytes], ...] = ()


_SHOP = ((b"host", b"shop.example"),)

ACCEPTED: tuple[Accepted, ...] = (
    Accepted("plain", with_fields(), fields=_SHOP),
    Accepted("an empty line before it", b"\r\n" + with_fields()),
    Accepted("HTTP/1.0 without Host", b"GET / HTTP/1.0\r\n\r\n"),
    Accepted("HTTP/1.0 with Host", b"GET / HTTP/1.0\r\n" + HOST + b"\r\n", fields=_SHOP),
    Accepted("no space after the colon", b"GET / HTTP/1.1\r\nHost:shop.example\r\n\r\n", fields=_SHOP),
    Accepted("spaces around a value", b"GET / HTTP/1.1\r\nHost: \t shop.example \t \r\n\r\n", fields=_SHOP),
    Accepted("names in odd case", b"GET / HTTP/1.1\r\nhOST: shop.example\r\n\r\n", fields=_SHOP),
    Accepted("an empty value", with_fields(b"X-A:\r\n"), fields=((b"x-a", b""),)),
    Accepted("a tab within a value", with_fields(b"X-A: 1\t2\r\n"), fields=((b"x-a", b"1\t2"),)),
    Accepted("UTF-8 in a value", with_fields("X-A: ä\r\n".encode()), fields=((b"x-a", "ä".encode()),)),
    Accepted(
        "every token character",
        with_fields(b"!#$%&'*+-.^_`|~09azAZ: 1\r\n"),
        fields=((b"!#$%&'*+-.^_`|~09azaz", b"1"),),
    ),
    Accepted(
        "a repeated field", with_fields(b"X-A: 1\r\nX-A: 2\r\n"), fields=((b"x-a", b"1"), (b"x-a", b"2"))
    ),
    Accepted("a port in Host", b"GET / HTTP/1.1\r\nHost: a:8080\r\n\r\n", fields=((b"host", b"a:8080"),)),
    Accepted("IPv6 in Host", b"GET / HTTP/1.1\r\nHost: [::1]:80\r\n\r\n", fields=((b"host", b"[::1]:80"),)),
    Accepted("percent in Host", b"GET / HTTP/1.1\r\nHost: a%20b\r\n\r\n", fields=((b"host", b"a%20b"),)),
    Accepted(
        "length 0", with_body(b"Content-Length: 0\r\n", b""), b"POST", fields=((b"content-length", b"0"),)
    ),
    Accepted("length with zeros", with_body(b"Content-Length: 003\r\n", b"abc"), b"POST", body=b"abc"),
    Accepted(
        "a body that looks like a request",
        with_body(b"Content-Length: 46\r\n", SMUGGLED),
        b"POST",
        body=SMUGGLED,
    ),
    Accepted("a body in a GET", with_fields(b"Content-Length: 3\r\n") + b"abc", body=b"abc"),
    Accepted("no body in a POST", with_body(b"", b""), b"POST"),
    Accepted("chunked", in_chunks(b"3\r\nabc\r\n2\r\nde\r\n0\r\n\r\n"), b"POST", body=b"abcde"),
    Accepted(
        "chunked in odd case",
        with_body(b"Transfer-Encoding: ChUnKeD\r\n", b"1\r\na\r\n0\r\n\r\n"),
        b"POST",
        body=b"a",
    ),
    Accepted("chunked without data", in_chunks(b"0\r\n\r\n"), b"POST"),
    Accepted(
        "chunk size in capitals", in_chunks(b"A\r\n0123456789\r\n0\r\n\r\n"), b"POST", body=b"0123456789"
    ),
    Accepted("chunk size with zeros", in_chunks(b"0003\r\nabc\r\n000\r\n\r\n"), b"POST", body=b"abc"),
    Accepted("chunk extensions", in_chunks(b'3;a=1;b="c d"\r\nabc\r\n0;e\r\n\r\n'), b"POST", body=b"abc"),
    Accepted("space before an extension", in_chunks(b"3 ; a\r\nabc\r\n0\r\n\r\n"), b"POST", body=b"abc"),
    Accepted("CRLF as chunk data", in_chunks(b"5\r\n\r\n0\r\n\r\n0\r\n\r\n"), b"POST", body=b"\r\n0\r\n"),
    Accepted("a trailer section", in_chunks(b"1\r\na\r\n0\r\nX-Sum: 1\r\n\r\n"), b"POST", body=b"a"),
    Accepted("a query", with_fields(line=b"GET /a?b=c&d HTTP/1.1"), path=b"/a?b=c&d"),
    Accepted("an empty query", with_fields(line=b"GET /? HTTP/1.1"), path=b"/?"),
    Accepted("odd but printable", with_fields(line=b'GET /"<>\\^`{|} HTTP/1.1'), path=b'/"<>\\^`{|}'),
    Accepted(
        "percent signs as they came",
        with_fields(line=b"GET /%2e%2E/%0d%0a/%zz HTTP/1.1"),
        path=b"/%2e%2E/%0d%0a/%zz",
    ),
    Accepted("dots as they came", with_fields(line=b"GET /a/../b/./c HTTP/1.1"), path=b"/a/../b/./c"),
    Accepted("two slashes", with_fields(line=b"GET //evil.example/a HTTP/1.1"), path=b"//evil.example/a"),
    Accepted(
        "absolute-form", with_fields(line=b"GET http://shop.example/a?b HTTP/1.1"), path=b"/a?b", fields=_SHOP
    ),
    Accepted(
        "absolute-form in odd case", with_fields(line=b"GET HTTP://SHOP.example/a HTTP/1.1"), path=b"/a"
    ),
    Accepted(
        "absolute-form without a path", with_fields(line=b"GET http://shop.example HTTP/1.1"), path=b"/"
    ),
    Accepted(
        "absolute-form with a query only",
        with_fields(line=b"GET http://shop.example?a HTTP/1.1"),
        path=b"/?a",
    ),
    Accepted("OPTIONS *", with_fields(line=b"OPTIONS * HTTP/1.1"), b"OPTIONS", b"*"),
    Accepted("a method of WebDAV", with_fields(line=b"PROPFIND / HTTP/1.1"), b"PROPFIND"),
    Accepted("a method with a dash", with_fields(line=b"M-SEARCH / HTTP/1.1"), b"M-SEARCH"),
    Accepted(
        "Expect in odd case",
        with_body(b"Content-Length: 1\r\nExpect: 100-Continue\r\n", b"a"),
        b"POST",
        body=b"a",
    ),
    Accepted("Connection with empty parts", with_fields(b"Connection: , keep-alive ,\r\n"), fields=()),
    Accepted(
        "a head as large as allowed",
        with_fields(b"X-A: " + b"a" * (MAX_HEAD_BYTES - len(with_fields()) - 7) + b"\r\n"),
    ),
    Accepted("as many fields as allowed", with_fields(b"X-A: 1\r\n" * (MAX_HEADERS - 1))),
)

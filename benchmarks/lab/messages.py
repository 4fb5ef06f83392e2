"""The requests that are sent, and as much of HTTP as it takes to know where an answer ends."""

from __future__ import annotations

import http.client
import re

#: What a desktop browser sends with a page view; with the cookies of `browser_heads` about 0.9 KB.
_BROWSER_HEAD = (
    "GET /account/orders?page=2 HTTP/1.1\r\n"
    "Host: shop.example.com\r\n"
    "Connection: keep-alive\r\n"
    "Cache-Control: max-age=0\r\n"
    'Sec-Ch-Ua: "Chromium";v="142", "Not(A:Brand";v="24", "Google Chrome";v="142"\r\n'
    "Sec-Ch-Ua-Mobile: ?0\r\n"
    'Sec-Ch-Ua-Platform: "Linux"\r\n'
    "Upgrade-Insecure-Requests: 1\r\n"
    "User-Agent: Mozilla/5.0 (X11; Linux x86_64) AppleWebKit/537.36 (KHTML, like Gecko) "
    "Chrome/142.0.0.0 Safari/537.36\r\n"
    "Accept: text/html,application/xhtml+xml,application/xml;q=0.9,"
    "image/avif,image/webp,image/apng,*/*;q=0.8\r\n"
    "Sec-Fetch-Site: same-origin\r\n"
    "Sec-Fetch-Mode: navigate\r\n"
    "Sec-Fetch-User: ?1\r\n"
    "Sec-Fetch-Dest: document\r\n"
    "Referer: https://shop.example.com/account/orders?page=1\r\n"
    "Accept-Encoding: gzip, deflate, br, zstd\r\n"
    "Accept-Language: en-US,en;q=0.9,de;q=0.8\r\n"
    "Cookie: _ga=GA1.1.1234567890.1700000000; theme=dark; sessionid=0123456789abcdefghijklmnopqrstuv; "
    "{sticky}csrftoken=0123456789abcdefghijklmnopqrstuv\r\n\r\n"
)
#: Clients, each with its sticky cookie, if no other number is asked for.
SESSIONS = 50
#: More clients than any cache of limpet holds.
MANY_SESSIONS = 5000

_CONTENT_LENGTH = re.compile(rb"\r\ncontent-length: *(\d+)", re.IGNORECASE)


def sticky_cookies(port: int, count: int = SESSIONS) -> list[str]:
    """Ask a proxy for the cookies of new clients; [] if it gives none.

    The clients come one after the other and are no browsers, so that none is taken for another.
    """
    cookies = []
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=5)
    for _ in range(count):
        connection.request("GET", "/")
        answer = connection.getresponse()
        answer.read()
        pairs = [line.partition(";")[0] for line in answer.headers.get_all("Set-Cookie") or []]
        if pairs:
            cookies.append("; ".join(pairs))
    connection.close()
    return cookies


def browser_heads(cookies: list[str]) -> list[bytes]:
    """Return one request for each of the cookies; a single one without cookie if there are none."""
    return [_BROWSER_HEAD.format(sticky=f"{cookie}; ").encode() for cookie in cookies] or [
        _BROWSER_HEAD.format(sticky="").encode()
    ]


def answer_length(received: bytes) -> int | None:
    """Return the length of the answer that `received` begins with; None if its head is not complete.

    Knows Content-Length only, which is what the targets of these benchmarks send.
    """
    head_end = received.find(b"\r\n\r\n")
    if head_end < 0:
        return None
    length = _CONTENT_LENGTH.search(received, 0, head_end)
    if length is None:
        message = f"an answer without Content-Length: {received[:200]!r}"
        raise ValueError(message)
    return head_end + 4 + int(length[1])

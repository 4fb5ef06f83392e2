"""May a response carry a ticket? We must not cause what we cure.

Two kinds of responses could hand a ticket to the wrong request or user. A subresource (an image,
a script) is loaded beside the page and beside others like it; a ticket of its own could replace
the page's. And a response that a shared cache stores would give one user's ticket to everybody.
"""

from __future__ import annotations

from enum import Enum
from typing import TYPE_CHECKING

from limpet.core.cookie_date import parse_cookie_date

if TYPE_CHECKING:
    from limpet.core.request import RequestHead, ResponseHead

#: Destinations of requests that make or change a page's state. All others are loaded by a page
#: as a part of it. Source: https://fetch.spec.whatwg.org/#concept-request-destination
_PAGE_DESTINATIONS = frozenset({b"document", b"iframe", b"frame", b"fencedframe", b"empty", b"websocket"})
_LIFETIMES = frozenset({b"max-age", b"s-maxage"})


class Carrying(Enum):
    """Whether a response may carry a ticket."""

    YES = "yes"
    IF_PRIVATE = "if_private"  # a cache may store it unless told otherwise
    NO = "no"


def is_subresource(request: RequestHead) -> bool:
    """Return whether a page loads this as a part of itself, as far as the client tells."""
    destination = request.header(b"sec-fetch-dest")
    return destination is not None and destination not in _PAGE_DESTINATIONS


def may_carry(request: RequestHead, response: ResponseHead, now_wall_s: float) -> Carrying:
    """Judge by what a shared cache may do with the response.

    Source: RFC 9111 sections 3 (storing), 4.2.1 (`s-maxage` and `max-age` before Expires),
    4.2.2 (heuristic freshness) and 3.2 (a 304's fields replace those of what is stored).
    """
    if request.method not in {b"GET", b"HEAD"}:
        return Carrying.YES  # stored only on request, and then for this URL's own GET
    directives = _directives(response)
    if not directives.keys().isdisjoint({b"private", b"no-store"}):
        return Carrying.YES
    if response.status == 304:
        return Carrying.NO
    if b"no-cache" in directives:
        return Carrying.IF_PRIVATE
    if b"public" in directives or _is_fresh(directives, response, now_wall_s):
        return Carrying.NO
    return Carrying.IF_PRIVATE


def _is_fresh(directives: dict[bytes, bytes], response: ResponseHead, now_wall_s: float) -> bool:
    lifetimes = [directives[name] for name in _LIFETIMES & directives.keys()]
    if lifetimes:
        return any(lifetime.strip(b'"') != b"0" for lifetime in lifetimes)
    expires_s = parse_cookie_date(response.header(b"expires") or b"")  # reads every HTTP date
    return expires_s is not None and expires_s > now_wall_s


def _directives(response: ResponseHead) -> dict[bytes, bytes]:
    directives = {}
    for value in response.values(b"cache-control"):
        for part in value.lower().split(b","):
            name, has_argument, argument = part.strip(b" \t").partition(b"=")
            # `private="x"` and `no-cache="x"` speak of one field only: the response may be stored.
            if not has_argument or name in _LIFETIMES:
                directives[name] = argument
    return directives

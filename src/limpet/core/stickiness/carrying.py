"""May a response carry a ticket? We must not cause what we cure.

Two kinds of responses could hand a ticket to the wrong request or user. A subresource (an image,
a script) is loaded beside the page and beside others like it; a ticket of its own could replace
the page's. And a response that a shared cache stores would give one user's ticket to everybody.
"""

from __future__ import annotations

from enum import Enum
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from limpet.core.request import RequestHead, ResponseHead

#: Destinations of requests that make or change a page's state. All others are loaded by a page
#: as a part of it. Source: https://fetch.spec.whatwg.org/#concept-request-destination
_PAGE_DESTINATIONS = frozenset({b"document", b"iframe", b"frame", b"fencedframe", b"empty", b"websocket"})


class Carrying(Enum):
    """Whether a response may carry a ticket."""

    YES = "yes"
    IF_PRIVATE = "if_private"  # a cache may store it unless told otherwise
    NO = "no"


def is_subresource(request: RequestHead) -> bool:
    """Return whether a page loads this as a part of itself, as far as the client tells."""
    destination = request.header(b"sec-fetch-dest")
    return destination is not None and destination not in _PAGE_DESTINATIONS


def may_carry(request: RequestHead, response: ResponseHead) -> Carrying:
    """Judge by what a shared cache may do with the response.

    Source: RFC 9111 sections 3 (storing) and 4.2.2 (heuristic freshness).
    """
    if request.method not in {b"GET", b"HEAD"}:
        return Carrying.YES  # stored only on request, and then for this URL's own GET
    directives = _directives(response)
    if directives & {b"private", b"no-store"}:
        return Carrying.YES
    if directives & {b"public", b"s-maxage", b"max-age"}:
        return Carrying.NO
    if response.header(b"expires") is not None and b"no-cache" not in directives:
        return Carrying.NO if response.header(b"expires") not in {b"0", b"-1"} else Carrying.IF_PRIVATE
    return Carrying.IF_PRIVATE


def _directives(response: ResponseHead) -> set[bytes]:
    # Names only; `max-age=0` asks for revalidation and is no licence to reuse.
    names = set()
    for value in response.values(b"cache-control"):
        for part in value.lower().split(b","):
            name, _, argument = part.strip(b" \t").partition(b"=")
            if argument.strip(b'"') != b"0":
                names.add(name)
    return names

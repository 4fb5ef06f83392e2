"""What the kinds of stickiness are told."""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from fnmatch import translate
from typing import TYPE_CHECKING

from limpet.core.cookies import CookieAttributes
from limpet.core.stickiness.contract import AfterRecovery, OnUnavailable

if TYPE_CHECKING:
    from collections.abc import Callable

    from limpet.core.key_ring import KeyRing
    from limpet.core.request import RequestHead


@dataclass(frozen=True, slots=True, kw_only=True)
class StickinessSettings:
    """Settings of one target group's stickiness; each kind reads what it knows.

    Attributes:
        group: name of the target group.
        cookie_name: of limpet's cookie; app_cookie adds "-app", the cross-site twin "-cors".
        former_cookie_name: another name under which a ticket still counts; "" for none.
        duration_s: idle time after which a pin ends, checked against the current setting; 0 for none.
        absolute_s: age after which a pin ends; 0 for none.
        app_cookie: name of the application's cookie; "" for none.
        header: lower-case name of the header that identifies a session; b"" for none.
        attributes: of limpet's cookie.
        has_cross_site_twin: also set a `SameSite=None; Secure` cookie.
        exempt_paths: patterns (`*`, `?`) of paths that neither create nor need stickiness.
        has_subresource_tickets: images, scripts and the like get new tickets too.
        on_unavailable: what a pinned request gets when its target cannot serve it.
        after_recovery: whether a redistributed session returns.
    """

    group: str
    cookie_name: str = "limpet"
    former_cookie_name: str = ""
    duration_s: int = 86400
    absolute_s: int = 0
    app_cookie: str = ""
    header: bytes = b""
    attributes: CookieAttributes = field(default_factory=CookieAttributes)
    has_cross_site_twin: bool = False
    exempt_paths: tuple[str, ...] = ()
    has_subresource_tickets: bool = False
    on_unavailable: OnUnavailable = OnUnavailable.REDISTRIBUTE
    after_recovery: AfterRecovery = AfterRecovery.STICKY


@dataclass(frozen=True, slots=True)
class Sealing:
    """What makes tickets.

    Attributes:
        ring: the keys.
        entropy: returns so many unguessable bytes (`os.urandom`).
    """

    ring: KeyRing
    entropy: Callable[[int], bytes]


class ExemptPaths:
    """Decides whether a path is exempt from stickiness; false for all without patterns."""

    def __init__(self, patterns: tuple[str, ...]) -> None:
        joined = "|".join(translate(pattern) for pattern in patterns)
        self._match = re.compile(joined.encode()).match if patterns else None

    def __contains__(self, request: RequestHead) -> bool:
        """Return whether the request's path, without its query, matches a pattern."""
        return self._match is not None and self._match(request.path.partition(b"?")[0]) is not None

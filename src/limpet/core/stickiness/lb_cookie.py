"""Duration-based stickiness: limpet's own cookie says where the session is.

The cookie holds a sealed ticket. Its end is not written in it: every balancer compares the time
it was last seen with the *current* setting, so a changed duration holds at once. It slides:
when a tenth of the duration has passed, the next response carries it anew; in between, nothing
is set, so that responses stay cacheable. Source: ALB's `lb_cookie`, which sets its cookie on
every response; https://docs.aws.amazon.com/elasticloadbalancing/latest/application/sticky-sessions.html
"""

from __future__ import annotations

from math import ceil
from typing import TYPE_CHECKING

from limpet.core.cookies import CookieAttributes
from limpet.core.stickiness.carrying import Carrying, is_subresource, may_carry
from limpet.core.stickiness.contract import (
    NOTHING_CARRIED,
    NOTHING_TO_BIND,
    Binding,
    Carried,
    Finding,
    StickyStatus,
)
from limpet.core.stickiness.first_visits import FirstVisits
from limpet.core.stickiness.settings import ExemptPaths
from limpet.core.stickiness.ticket import Ticket, seal, version_of
from limpet.core.stickiness.ticket_cookies import TicketCookies

if TYPE_CHECKING:
    from collections.abc import Mapping

    from limpet.core.clock import Now
    from limpet.core.request import RequestHead, ResponseHead
    from limpet.core.stickiness.settings import Sealing, StickinessSettings
    from limpet.core.target import TargetState

#: A ticket dated further ahead than this was sealed by a clock that went wrong: it is dated anew.
#: It stays good, because a repaired clock must not log anybody out.
MAX_AHEAD_S = 300
#: The part of the duration after which a ticket is sent anew.
_STALE_PART = 10


class LbCookie:
    """Stickiness by limpet's own cookie."""

    kind = "lb_cookie"

    def __init__(self, settings: StickinessSettings, sealing: Sealing) -> None:
        self.on_unavailable = settings.on_unavailable
        self.after_recovery = settings.after_recovery
        self.first_visits = FirstVisits(sealing.entropy)
        self._settings = settings
        self._sealing = sealing
        self._name = settings.cookie_name.encode()
        self._twin = self._name + b"-cors"
        suffixes = (b"", b"-cors") if settings.has_cross_site_twin else (b"",)
        names = tuple(self._name + suffix for suffix in suffixes)
        old = settings.former_cookie_name.encode()
        former = tuple(old + suffix for suffix in suffixes) if old else ()
        self.own_cookies = frozenset({self._name, self._twin, *former})
        self._tickets = TicketCookies(names, settings.group, sealing.ring, self._pinned, former=former)
        self._exempt = ExemptPaths(settings.exempt_paths) if settings.exempt_paths else None
        self._stale_s = settings.duration_s / _STALE_PART if settings.duration_s else 86400.0
        self._twin_attributes = CookieAttributes(
            domain=settings.attributes.domain,
            same_site="None",
            is_secure=True,
            is_partitioned=settings.attributes.is_partitioned,
        )

    def find(self, request: RequestHead, targets: Mapping[str, TargetState], now: Now) -> Finding:
        """Read the ticket in the request's cookies."""
        del targets
        if self._exempt and request in self._exempt:
            return Finding(StickyStatus.EXEMPT, is_settled=True)
        finding = self._tickets.read(request.fields.cookie)
        ticket = finding.ticket
        if ticket is None:
            return self._without(finding.status, request)
        age_s = now.wall_s - ticket.last_seen_s
        settings = self._settings
        if settings.duration_s and age_s >= settings.duration_s:
            return self._without(StickyStatus.EXPIRED, request)
        if settings.absolute_s and now.wall_s - ticket.issued_at_s >= settings.absolute_s:
            return self._without(StickyStatus.OUTLIVED, request)
        if -MAX_AHEAD_S <= age_s < self._stale_s:
            return finding
        return finding.unsettled()

    def bind(
        self,
        request: RequestHead,
        finding: Finding,
        target_id: str,
        response: ResponseHead,
        now: Now,
        carried: Carried = NOTHING_CARRIED,
    ) -> Binding:
        """Seal a ticket for `target_id`, unless the response must not carry one."""
        if finding.status is StickyStatus.EXEMPT or self._is_bare(request):
            return NOTHING_TO_BIND
        carrying = may_carry(request, response, now.wall_s)
        if carrying is Carrying.NO:
            return NOTHING_TO_BIND
        ticket = self._ticket(finding, target_id, ceil(now.wall_s))._replace(
            epoch=carried.epoch, session_version=version_of(carried.floor)
        )
        value = seal(ticket, self._sealing.ring, self._sealing.entropy)
        cookies = [self._set_cookie(self._name, value, self._settings.attributes, request)]
        if self._settings.has_cross_site_twin:
            cookies.append(self._set_cookie(self._twin, value, self._twin_attributes, request))
        return Binding(cookies, make_private=carrying is Carrying.IF_PRIVATE)

    def _pinned(self, status: StickyStatus, ticket: Ticket, is_agreed: bool) -> Finding:
        # A cookie and its twin that disagree are both sent anew: a site embedded in others would go
        # on with the one, and the same site on its own with the other.
        is_settled = is_agreed or status is StickyStatus.SEVERAL
        until_s = ticket.last_seen_s + self._stale_s
        if self._settings.absolute_s:
            until_s = min(until_s, ticket.issued_at_s + self._settings.absolute_s)
        return Finding(
            status,
            ticket.target_id,
            ticket,
            ticket.ticket_id,
            is_settled=is_settled,
            # Exempt paths are found by the path, so the same fields may have another finding.
            settled_until_s=until_s if is_settled and self._exempt is None else 0.0,
        )

    def _without(self, status: StickyStatus, request: RequestHead) -> Finding:
        # A new finding each time, because a first visit may be noted in it. A request that gets no
        # ticket is settled: it must not use up a visit that others need.
        return Finding(status, is_settled=self._is_bare(request))

    def _is_bare(self, request: RequestHead) -> bool:
        return not self._settings.has_subresource_tickets and is_subresource(request)

    def _ticket(self, finding: Finding, target_id: str, now_s: int) -> Ticket:
        # `now_s` is rounded up: of a short duration, no part may be lost to rounding.
        old = finding.ticket
        if old is not None:
            issued_at_s = min(old.issued_at_s, now_s)
            return old._replace(target_id=target_id, issued_at_s=issued_at_s, last_seen_s=now_s)
        ticket_id = finding.visit.ticket_id if finding.visit is not None else self._sealing.entropy(16)
        return Ticket(
            ticket_id=ticket_id,
            target_id=target_id,
            group=self._settings.group,
            issued_at_s=now_s,
            last_seen_s=now_s,
        )

    def _set_cookie(
        self, name: bytes, value: bytes, attributes: CookieAttributes, request: RequestHead
    ) -> bytes:
        max_age = b"; Max-Age=%d" % self._settings.duration_s if self._settings.duration_s else b""
        return name + b"=" + value + max_age + attributes.text(is_https=request.is_https)

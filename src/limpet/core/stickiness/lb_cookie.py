"""Duration-based stickiness: limpet's own cookie says where the session is.

The cookie holds a sealed ticket. Its end is not written in it: every balancer compares the time
it was last seen with the *current* setting, so a changed duration holds at once. It slides:
when a tenth of the duration has passed, the next response carries it anew; in between, nothing
is set, so that responses stay cacheable. Source: ALB's `lb_cookie`, which sets its cookie on
every response; https://docs.aws.amazon.com/elasticloadbalancing/latest/application/sticky-sessions.html
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from limpet.core.cookies import CookieAttributes, find_values
from limpet.core.stickiness.carrying import Carrying, is_subresource, may_carry
from limpet.core.stickiness.contract import NOTHING_TO_BIND, Binding, Finding, StickyStatus
from limpet.core.stickiness.first_visits import FirstVisits
from limpet.core.stickiness.settings import ExemptPaths
from limpet.core.stickiness.ticket import Ticket, open_ticket, seal

if TYPE_CHECKING:
    from collections.abc import Mapping

    from limpet.core.clock import Now
    from limpet.core.request import RequestHead, ResponseHead
    from limpet.core.stickiness.settings import Sealing, StickinessSettings
    from limpet.core.target import TargetState

#: The same Cookie header comes with every request of a page: it is read once.
_MAX_KNOWN = 4096
#: A ticket dated further ahead than this was sealed by a clock that went wrong.
MAX_AHEAD_S = 86400
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
        self.own_cookies = frozenset({self._name, self._twin})
        self._exempt = ExemptPaths(settings.exempt_paths) if settings.exempt_paths else None
        self._stale_s = max(settings.duration_s // _STALE_PART, 1) if settings.duration_s else 86400
        self._twin_attributes = CookieAttributes(
            domain=settings.attributes.domain,
            same_site="None",
            is_secure=True,
            is_partitioned=settings.attributes.is_partitioned,
        )
        self._known: dict[bytes, tuple[StickyStatus, Ticket | None, Finding]] = {}

    def find(self, request: RequestHead, targets: Mapping[str, TargetState], now: Now) -> Finding:
        """Read the ticket in the request's cookies."""
        del targets
        if self._exempt and request in self._exempt:
            return Finding(StickyStatus.EXEMPT, is_settled=True)
        cookie = request.fields.cookie
        known = self._known.get(cookie)
        if known is None:
            known = self._remember(cookie)
        status, ticket, fresh = known
        if ticket is None:
            return Finding(status)  # of its own: a first visit will be noted in it
        age_s = now.wall_s - ticket.last_seen_s
        settings = self._settings
        if (settings.duration_s and age_s >= settings.duration_s) or age_s < -MAX_AHEAD_S:
            return Finding(StickyStatus.EXPIRED)
        if settings.absolute_s and now.wall_s - ticket.issued_at_s >= settings.absolute_s:
            return Finding(StickyStatus.OUTLIVED)
        if age_s < self._stale_s:
            return fresh
        return Finding(status, ticket.target_id, ticket, ticket.ticket_id)

    def bind(
        self, request: RequestHead, finding: Finding, target_id: str, response: ResponseHead, now: Now
    ) -> Binding:
        """Seal a ticket for `target_id`, unless the response must not carry one."""
        if finding.status is StickyStatus.EXEMPT:
            return NOTHING_TO_BIND
        if not self._settings.has_subresource_tickets and is_subresource(request):
            return NOTHING_TO_BIND
        carrying = may_carry(request, response)
        if carrying is Carrying.NO:
            return NOTHING_TO_BIND
        ticket = self._ticket(finding, target_id, int(now.wall_s))
        value = seal(ticket, self._sealing.ring, self._sealing.entropy)
        cookies = [self._set_cookie(self._name, value, self._settings.attributes, request)]
        if self._settings.has_cross_site_twin:
            cookies.append(self._set_cookie(self._twin, value, self._twin_attributes, request))
        return Binding(cookies, make_private=carrying is Carrying.IF_PRIVATE)

    def _remember(self, cookie: bytes) -> tuple[StickyStatus, Ticket | None, Finding]:
        status, ticket = self._read(cookie)
        fresh = Finding(status)
        if ticket is not None:
            fresh = self._fresh(status, ticket)
        known = (status, ticket, fresh)
        if len(self._known) >= _MAX_KNOWN:
            self._known.clear()
        self._known[cookie] = known
        return known

    def _fresh(self, status: StickyStatus, ticket: Ticket) -> Finding:
        until_s = ticket.last_seen_s + self._stale_s
        if self._settings.absolute_s:
            until_s = min(until_s, ticket.issued_at_s + self._settings.absolute_s)
        return Finding(
            status,
            ticket.target_id,
            ticket,
            ticket.ticket_id,
            is_settled=True,
            # Exempt paths are found by the path, so the same fields may have another finding.
            settled_until_s=until_s if self._exempt is None else 0.0,
        )

    def _read(self, cookie: bytes) -> tuple[StickyStatus, Ticket | None]:
        values = find_values(cookie, self._name)
        twins = find_values(cookie, self._twin)
        if not values and not twins:
            return StickyStatus.ABSENT, None
        opened = [open_ticket(value, self._sealing.ring) for value in dict.fromkeys(values + twins)]
        tickets = [ticket for ticket in opened if isinstance(ticket, Ticket)]
        mine = [ticket for ticket in tickets if ticket.group == self._settings.group]
        if mine:
            is_one = len(values) <= 1 and len(twins) <= 1
            newest = max(mine, key=lambda ticket: ticket.last_seen_s)
            return StickyStatus.FOUND if is_one else StickyStatus.SEVERAL, newest
        if tickets:
            return StickyStatus.OTHER_GROUP, None
        return next(status for status in opened if isinstance(status, StickyStatus)), None

    def _ticket(self, finding: Finding, target_id: str, now_s: int) -> Ticket:
        if finding.ticket is not None:
            return finding.ticket._replace(target_id=target_id, last_seen_s=now_s)
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

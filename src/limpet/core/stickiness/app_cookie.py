"""Application-based stickiness: the session is pinned as long as the application's cookie lives.

It starts when a target sets that cookie, and follows it: its lifetime and the scope in which the
browser returns it, its deletion, its end. A new value changes nothing. The pin is sealed in a
cookie of limpet's own and counts only together with the application's, so that a browser that
lost its session is free again. Source: ALB's `app_cookie`, which fixes its own cookie at seven days
and so may outlive or miss the session's end.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from limpet.core.cookies import find_values, parse_set_cookie
from limpet.core.stickiness.contract import NOTHING_TO_BIND, Binding, Finding, StickyStatus
from limpet.core.stickiness.first_visits import FirstVisits
from limpet.core.stickiness.settings import ExemptPaths
from limpet.core.stickiness.ticket import Ticket, open_ticket, seal

if TYPE_CHECKING:
    from collections.abc import Mapping

    from limpet.core.clock import Now
    from limpet.core.cookies import SetCookie
    from limpet.core.request import RequestHead, ResponseHead
    from limpet.core.stickiness.settings import Sealing, StickinessSettings
    from limpet.core.target import TargetState


class AppCookie:
    """Stickiness that follows a cookie of the application."""

    kind = "app_cookie"

    def __init__(self, settings: StickinessSettings, sealing: Sealing) -> None:
        self.on_unavailable = settings.on_unavailable
        self.after_recovery = settings.after_recovery
        self.first_visits = FirstVisits(sealing.entropy)
        self._settings = settings
        self._sealing = sealing
        self._app_name = settings.app_cookie.encode()
        self._name = settings.cookie_name.encode() + b"-app"
        self.own_cookies = frozenset({self._name})
        self._exempt = ExemptPaths(settings.exempt_paths)

    def find(self, request: RequestHead, targets: Mapping[str, TargetState], now: Now) -> Finding:
        """Read the pin, which counts only together with the application's cookie."""
        del targets
        if request in self._exempt:
            return Finding(StickyStatus.EXEMPT, is_settled=True)
        cookie = request.fields.cookie
        values = find_values(cookie, self._name)
        if not values:
            return Finding(StickyStatus.ABSENT)
        if not find_values(cookie, self._app_name):
            return Finding(StickyStatus.APP_COOKIE_MISSING)
        opened = [open_ticket(value, self._sealing.ring) for value in values]
        tickets = [ticket for ticket in opened if isinstance(ticket, Ticket)]
        if not tickets:
            return Finding(next(status for status in opened if isinstance(status, StickyStatus)))
        mine = [ticket for ticket in tickets if ticket.group == self._settings.group]
        if not mine:
            return Finding(StickyStatus.OTHER_GROUP)
        ticket = max(mine, key=lambda ticket: ticket.last_seen_s)
        if self._is_over(ticket, now.wall_s):
            return Finding(StickyStatus.EXPIRED)
        status = StickyStatus.FOUND if len(values) == 1 else StickyStatus.SEVERAL
        return Finding(status, ticket.target_id, ticket, ticket.ticket_id)

    def bind(
        self, request: RequestHead, finding: Finding, target_id: str, response: ResponseHead, now: Now
    ) -> Binding:
        """Follow what the response does with the application's cookie."""
        del request
        app_cookie = self._app_cookie(response, now.wall_s)
        ticket = finding.ticket
        if app_cookie is None:
            if ticket is None or ticket.target_id == target_id:
                return NOTHING_TO_BIND
            # The session was moved to another target; its cookie lives on.
            return self._binding(ticket._replace(target_id=target_id), now.wall_s)
        if app_cookie.is_deletion:
            attributes = _mirrored(app_cookie)
            return Binding([self._name + b"=; Max-Age=0; Path=/; HttpOnly" + attributes])
        lifetime_s = app_cookie.lifetime_s
        if ticket is None:
            ticket_id = finding.visit.ticket_id if finding.visit is not None else self._sealing.entropy(16)
            issued_at_s = int(now.wall_s)
        else:
            ticket_id, issued_at_s = ticket.ticket_id, ticket.issued_at_s
        fresh = Ticket(
            ticket_id=ticket_id,
            target_id=target_id,
            group=self._settings.group,
            issued_at_s=issued_at_s,
            last_seen_s=int(now.wall_s),
            expires_at_s=int(now.wall_s + lifetime_s) if lifetime_s is not None else 0,
            attributes=_mirrored(app_cookie),
        )
        return self._binding(fresh, now.wall_s)

    def _app_cookie(self, response: ResponseHead, now_wall_s: float) -> SetCookie | None:
        found = None
        for value in response.values(b"set-cookie"):
            parsed = parse_set_cookie(value, now_wall_s)
            if parsed is not None and parsed.name == self._app_name:
                found = parsed  # of several, the browser keeps the last
        return found

    def _binding(self, ticket: Ticket, now_wall_s: float) -> Binding:
        value = seal(ticket, self._sealing.ring, self._sealing.entropy)
        left = b"; Max-Age=%d" % max(ticket.expires_at_s - int(now_wall_s), 1) if ticket.expires_at_s else b""
        return Binding([self._name + b"=" + value + left + b"; Path=/; HttpOnly" + ticket.attributes])

    def _is_over(self, ticket: Ticket, now_wall_s: float) -> bool:
        if ticket.expires_at_s and now_wall_s >= ticket.expires_at_s:
            return True
        duration_s = self._settings.duration_s
        return bool(duration_s) and now_wall_s - ticket.last_seen_s >= duration_s


def _mirrored(app_cookie: SetCookie) -> bytes:
    # The browser must return both cookies to the same requests: to the same hosts and from the
    # same sites. Path is not mirrored: the pin counts only where the application's cookie comes.
    found = app_cookie.attributes
    text = b""
    if found.get(b"domain"):
        text += b"; Domain=" + found[b"domain"]
    text += b"; SameSite=" + (found.get(b"samesite") or b"Lax")
    if b"secure" in found:
        text += b"; Secure"
    if b"partitioned" in found:
        text += b"; Partitioned"
    return text if len(text) <= 255 else b"; SameSite=Lax"

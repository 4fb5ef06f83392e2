"""Application-based stickiness: the session is pinned as long as the application's cookie lives.

It starts when a target sets that cookie, and follows it: its lifetime and the scope in which the
browser returns it, its deletion, its end. A new value changes nothing. The pin is sealed in a
cookie of limpet's own and counts only together with the application's, so that a browser that
lost its session is free again. Source: ALB's `app_cookie`, which fixes its own cookie at seven days
and so may outlive or miss the session's end.
"""

from __future__ import annotations

from math import ceil
from typing import TYPE_CHECKING

from limpet.core.cookies import parse_set_cookie
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
    from limpet.core.cookies import SetCookie
    from limpet.core.request import RequestHead, ResponseHead
    from limpet.core.stickiness.settings import Sealing, StickinessSettings
    from limpet.core.target import TargetState

#: Browsers keep no cookie longer. Source: rfc6265bis section 5.5.
MAX_LIFETIME_S = 400 * 86400
#: The part of a configured duration after which a pin is sent anew.
_STALE_PART = 10


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
        old = settings.former_cookie_name.encode()
        former = (old + b"-app",) if old else ()
        self.own_cookies = frozenset({self._name, *former})
        self._tickets = TicketCookies(
            (self._name,),
            settings.group,
            sealing.ring,
            _pinned,
            former=former,
            companion=self._app_name,
        )
        self._exempt = ExemptPaths(settings.exempt_paths)

    def find(self, request: RequestHead, targets: Mapping[str, TargetState], now: Now) -> Finding:
        """Read the pin, which counts only together with the application's cookie."""
        del targets
        if request in self._exempt:
            return Finding(StickyStatus.EXEMPT, is_settled=True)
        finding = self._tickets.read(request.fields.cookie)
        if finding.ticket is None:
            return Finding(finding.status)  # of its own: a first visit will be noted in it
        if self._is_over(finding.ticket, now.wall_s):
            return Finding(StickyStatus.EXPIRED)
        return finding

    def bind(
        self,
        request: RequestHead,
        finding: Finding,
        target_id: str,
        response: ResponseHead,
        now: Now,
        carried: Carried = NOTHING_CARRIED,
    ) -> Binding:
        """Follow what the response does with the application's cookie."""
        app_cookie = self._app_cookie(response, now.wall_s)
        if app_cookie is None:
            return self._carry_on(request, finding.ticket, target_id, response, now.wall_s, carried)
        if app_cookie.is_deletion:
            return Binding([self._name + b"=; Max-Age=0; Path=/; HttpOnly" + _mirrored(app_cookie)])
        ticket = _carrying(self._follow(app_cookie, finding, target_id, now.wall_s), carried)
        pin = self._pin(ticket, now.wall_s)
        return Binding([pin], make_private=may_carry(request, response, now.wall_s) is not Carrying.YES)

    def _carry_on(
        self,
        request: RequestHead,
        ticket: Ticket | None,
        target_id: str,
        response: ResponseHead,
        wall_s: float,
        carried: Carried,
    ) -> Binding:
        # The application's cookie lives on as it is; the pin is sent anew if what it tells has changed,
        # or if a configured duration would end it.
        if ticket is None:
            return NOTHING_TO_BIND
        is_true = ticket.target_id == target_id and _carrying(ticket, carried) == ticket
        if is_true and not self._is_stale(ticket, wall_s):
            return NOTHING_TO_BIND
        carrying = may_carry(request, response, wall_s)
        if carrying is Carrying.NO or is_subresource(request):
            return NOTHING_TO_BIND
        renewed = _carrying(ticket._replace(target_id=target_id, last_seen_s=ceil(wall_s)), carried)
        return Binding([self._pin(renewed, wall_s)], make_private=carrying is Carrying.IF_PRIVATE)

    def _follow(self, app_cookie: SetCookie, finding: Finding, target_id: str, wall_s: float) -> Ticket:
        old, visit = finding.ticket, finding.visit
        if old is not None:
            ticket_id, issued_at_s = old.ticket_id, old.issued_at_s
        else:
            ticket_id = visit.ticket_id if visit is not None else self._sealing.entropy(16)
            issued_at_s = ceil(wall_s)
        lifetime_s = app_cookie.lifetime_s
        return Ticket(
            ticket_id=ticket_id,
            target_id=target_id,
            group=self._settings.group,
            issued_at_s=issued_at_s,
            last_seen_s=ceil(wall_s),
            expires_at_s=0 if lifetime_s is None else ceil(wall_s + min(lifetime_s, MAX_LIFETIME_S)),
            attributes=_mirrored(app_cookie),
        )

    def _app_cookie(self, response: ResponseHead, wall_s: float) -> SetCookie | None:
        found = None
        for value in response.values(b"set-cookie"):
            parsed = parse_set_cookie(value, wall_s)
            if parsed is not None and parsed.name == self._app_name:
                found = parsed  # of several, the browser keeps the last
        return found

    def _pin(self, ticket: Ticket, wall_s: float) -> bytes:
        value = seal(ticket, self._sealing.ring, self._sealing.entropy)
        left = b"; Max-Age=%d" % max(ticket.expires_at_s - int(wall_s), 1) if ticket.expires_at_s else b""
        return self._name + b"=" + value + left + b"; Path=/; HttpOnly" + ticket.attributes

    def _is_over(self, ticket: Ticket, wall_s: float) -> bool:
        if ticket.expires_at_s and wall_s >= ticket.expires_at_s:
            return True
        duration_s = self._settings.duration_s
        return bool(duration_s) and wall_s - ticket.last_seen_s >= duration_s

    def _is_stale(self, ticket: Ticket, wall_s: float) -> bool:
        duration_s = self._settings.duration_s
        return bool(duration_s) and wall_s - ticket.last_seen_s >= duration_s / _STALE_PART


def _carrying(ticket: Ticket, carried: Carried) -> Ticket:
    return ticket._replace(epoch=carried.epoch, session_version=version_of(carried.floor))


def _pinned(status: StickyStatus, ticket: Ticket, _: bool) -> Finding:
    # Never settled: any response may change or delete the application's cookie.
    return Finding(status, ticket.target_id, ticket, ticket.ticket_id)


def _mirrored(app_cookie: SetCookie) -> bytes:
    # The browser must return both cookies to the same requests: to the same hosts and from the
    # same sites. So what the application leaves out is left out: browsers differ in what they then
    # do. Path is not mirrored: the pin counts only where the application's cookie comes.
    found = app_cookie.attributes
    text = b""
    if found.get(b"domain"):
        text += b"; Domain=" + found[b"domain"]
    if found.get(b"samesite"):
        text += b"; SameSite=" + found[b"samesite"]
    if b"secure" in found:
        text += b"; Secure"
    if b"partitioned" in found:
        text += b"; Partitioned"
    return text if len(text) <= 255 else b""

"""Turns settings into what the core and the data plane run on."""

from __future__ import annotations

from hashlib import blake2b
from ipaddress import ip_network
from typing import TYPE_CHECKING, NamedTuple

from limpet.config import certificates
from limpet.core.address import parse_address
from limpet.core.balancing.policy import PolicySettings
from limpet.core.cookies import CookieAttributes
from limpet.core.model import ClientLimits, Forwarding, Listener, TargetLimits
from limpet.core.relief.settings import Assumed, ReliefSettings
from limpet.core.stickiness.contract import AfterRecovery, OnUnavailable
from limpet.core.stickiness.settings import StickinessSettings
from limpet.core.target import Target
from limpet.core.target_health import HealthThresholds
from limpet.core.tls import HttpsRedirect

if TYPE_CHECKING:
    from collections.abc import Iterable

    from limpet.config import schema
    from limpet.core.tls import TargetTls

_DEFAULT_DURATION_S = 86400
DEFAULT_COOKIE = "limpet"


def targets(settings: Iterable[schema.TargetSettings]) -> list[Target]:
    """Return targets as they are listed; DNS names are not resolved."""
    return [
        Target(
            id=target.name or target_id(str(parse_address(target.address, default_port=80))),
            address=parse_address(target.address, default_port=80),
            weight=target.weight,
            is_backup=target.backup,
            is_in_maintenance=target.maintenance,
        )
        for target in settings
    ]


def target_id(address: str) -> str:
    """Return the id of a target without a name: stable, equal on every balancer, no address."""
    return "t-" + blake2b(address.encode(), digest_size=4, person=b"limpet target").hexdigest()


def listener(settings: schema.Settings, number: int) -> Listener:
    """Return a listener by its place in the configuration.

    Raises:
        ConfigError: a certificate or a key cannot be used.
    """
    item = settings.listeners[number]
    path = f"listeners.{number}.tls"
    return Listener(
        address=parse_address(item.address),
        group=default_group(settings, item),
        name=listener_name(settings, item),
        has_rules=bool(item.rules),
        is_proxy_protocol=item.proxy_protocol,
        http2=item.http2,
        http2_prior_knowledge=item.http2_prior_knowledge,
        tls=certificates.listener_tls(path, item.tls) if item.tls is not None else None,
        redirect=_redirect(settings, item) if item.redirect_to_https else None,
    )


def _redirect(settings: schema.Settings, item: schema.ListenerSettings) -> HttpsRedirect:
    port = item.https_port or https_port(settings) or 443
    return HttpsRedirect(port=port, acme_webroot=str(item.acme_webroot or ""))


def https_port(settings: schema.Settings) -> int | None:
    """Return the port of the first TLS listener, if it has a known one."""
    for item in settings.listeners:
        if item.tls is not None:
            return parse_address(item.address).port or None
    return None


def target_tls(name: str, settings: schema.TargetGroupSettings) -> TargetTls:
    """Return how a group's targets are spoken to.

    Raises:
        ConfigError: a certificate or a key cannot be used.
    """
    return certificates.target_tls(f"target_groups.{name}.tls", settings.tls)


def listener_name(settings: schema.Settings, item: schema.ListenerSettings) -> str:
    """Return what tells a listener from others, and stays the same when its rules change."""
    address = parse_address(item.address)
    # Port 0 is another port for each.
    return str(address) if address.port != 0 else f"{address} {default_group(settings, item)}"


def default_group(settings: schema.Settings, item: schema.ListenerSettings) -> str:
    """Return the name of the group that gets what no rule matches; "" for nobody."""
    if item.target_group is not None:
        return item.target_group
    return next(iter(settings.target_groups)) if len(settings.target_groups) == 1 else ""


class CookieNames(NamedTuple):
    """How a group's cookie is called.

    Attributes:
        name: that it is set under.
        former: another that it was set under before there were more groups, or before there were
            fewer; b"" for none. A ticket in it still counts.
    """

    name: str
    former: str


#: Of a group without cookies.
NO_COOKIE = CookieNames(DEFAULT_COOKIE, "")


def cookie_names(settings: schema.Settings) -> dict[str, CookieNames]:
    """Return the names of the cookies of each group that has some.

    Groups under one host must not overwrite each other's tickets, so where several are served, the
    name of the group is a part of the cookie's.
    """
    sticky = {name: group.stickiness for name, group in settings.target_groups.items()}
    with_cookies = {name for name, each in sticky.items() if each.type in {"lb_cookie", "app_cookie"}}
    is_alone = len(with_cookies & served_groups(settings)) < 2
    names = {}
    for group in sorted(with_cookies):
        chosen = sticky[group].cookie_name
        of_group = f"{DEFAULT_COOKIE}-{group}"
        if chosen is not None:
            names[group] = CookieNames(chosen, "")
        elif is_alone:
            names[group] = CookieNames(DEFAULT_COOKIE, of_group)
        else:
            names[group] = CookieNames(of_group, DEFAULT_COOKIE)
    return names


def served_groups(settings: schema.Settings) -> set[str]:
    """Return the names of the groups that some listener or rule forwards to."""
    forwards = [rule.forward or () for listener in settings.listeners for rule in listener.rules]
    named = {each.group for groups in forwards for each in groups}
    return named | {default_group(settings, listener) for listener in settings.listeners} - {""}


def stickiness(
    name: str, settings: schema.StickinessSettings, cookie: CookieNames = NO_COOKIE
) -> StickinessSettings:
    """Return a group's stickiness."""
    duration_s = settings.duration_s
    if duration_s is None:
        duration_s = 0 if settings.type == "app_cookie" else _DEFAULT_DURATION_S
    return StickinessSettings(
        group=name,
        cookie_name=cookie.name,
        former_cookie_name=cookie.former,
        duration_s=duration_s,
        absolute_s=settings.absolute_s,
        app_cookie=settings.app_cookie or "",
        header=(settings.header or "").lower().encode(),
        attributes=CookieAttributes(
            domain=settings.domain,
            same_site=settings.same_site,
            is_secure=True if settings.same_site == "None" or settings.partitioned else settings.secure,
            is_partitioned=settings.partitioned,
        ),
        has_cross_site_twin=settings.cross_site_twin,
        exempt_paths=settings.exempt_paths,
        has_subresource_tickets=settings.subresource_tickets,
        on_unavailable=OnUnavailable(settings.on_unavailable),
        after_recovery=AfterRecovery(settings.after_recovery),
    )


def policy(settings: schema.TargetGroupSettings) -> PolicySettings:
    """Return what a group's policy is told."""
    header = settings.hash_header
    return PolicySettings(
        hash_header=header.lower().encode() if header else None, load_bound=settings.load_bound
    )


def thresholds(settings: schema.HealthCheckSettings) -> HealthThresholds:
    """Return the thresholds of a group's health checks."""
    return HealthThresholds(
        healthy=settings.healthy_threshold,
        unhealthy=settings.unhealthy_threshold,
        passive=settings.passive_threshold,
    )


def relief(settings: schema.TargetGroupSettings) -> ReliefSettings:
    """Return how a group's targets are relieved."""
    given = settings.relief
    return ReliefSettings(
        is_on=given.enabled,
        max_excess=given.max_excess,
        moves_per_minute=given.moves_per_minute,
        assumed=Assumed(settings.session_state),
    )


def limits(settings: schema.LimitSettings) -> TargetLimits:
    """Return a group's limits."""
    return TargetLimits(**settings.model_dump())


def client_limits(settings: schema.ClientSettings) -> ClientLimits:
    """Return the limits towards clients."""
    exempt = tuple(ip_network(network, strict=False) for network in settings.exempt_networks)
    return ClientLimits(**settings.model_dump() | {"exempt_networks": exempt})


def forwarding(settings: schema.Settings) -> Forwarding:
    """Return trusted networks and error pages, the pages read from their files.

    Raises:
        OSError: a page cannot be read.
    """
    return Forwarding(
        trusted_proxies=tuple(ip_network(network, strict=False) for network in settings.trusted_proxies),
        error_pages={status: path.read_bytes() for status, path in settings.error_pages.items()},
    )

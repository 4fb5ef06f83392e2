"""Rules that concern more than one setting; pure, and never stops at the first mistake."""

from __future__ import annotations

import ipaddress
import os
from collections import Counter
from typing import TYPE_CHECKING

from limpet.config import certificates
from limpet.config import compile as compiled
from limpet.config.compile_rules import ordered, pin_cookie, pin_duration_s
from limpet.config.discovery_schema import discovery_problems
from limpet.config.rule_problems import pin_problems, rule_problems, session_header_problems
from limpet.core.address import parse_address
from limpet.errors import ConfigError

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from limpet.config.schema import (
        AdminSettings,
        ListenerSettings,
        Settings,
        StickinessSettings,
        TargetGroupSettings,
        TargetSettings,
    )


def problems(settings: Settings) -> list[str]:
    """Return every mistake, each as `path: what is wrong; what to do`."""
    found = [*_listeners(settings)]
    for index, listener in enumerate(settings.listeners):
        found += listener_problems(index, listener)
    found += [
        *pin_problems(settings.listeners),
        *session_header_problems(settings.listeners, settings.target_groups),
        *admin_problems(settings.admin),
        *_files(settings),
        *_cookies(settings),
    ]
    for name, group in settings.target_groups.items():
        found += group_problems(name, group)
    return found


def group_problems(name: str, group: TargetGroupSettings) -> list[str]:
    """Return every mistake within one target group."""
    path = f"target_groups.{name}"
    return [
        *_membership(path, group),
        *_stickiness(f"{path}.stickiness", group.stickiness),
        *_health_check(f"{path}.health_check", group),
        *_target_tls(name, group),
    ]


def _cookies(settings: Settings) -> Iterator[str]:
    # Cookies know no ports (RFC 6265 section 8.5): on one host each group would unpin the other's sessions.
    served = compiled.served_groups(settings)
    owners = {
        pin_cookie(name): f"rule {name!r}"
        for listener in settings.listeners
        for name, rule in ordered(listener.rules)
        if pin_duration_s(rule)
    }
    for name, names in compiled.cookie_names(settings).items():
        if name not in served:
            continue
        sticky = settings.target_groups[name].stickiness
        set_names = {f"{names.name}-app"} if sticky.type == "app_cookie" else {names.name}
        if sticky.cross_site_twin and sticky.type == "lb_cookie":
            set_names.add(f"{names.name}-cors")
        for cookie in sorted(set_names):
            owner = owners.setdefault(cookie, f"group {name!r}")
            if owner != f"group {name!r}":
                yield (
                    f"target_groups.{name}.stickiness.cookie_name: {cookie!r} is the cookie of {owner} "
                    "too; give each its own"
                )


def _listeners(settings: Settings) -> Iterator[str]:
    names = list(settings.target_groups)
    groups = ", ".join(names)
    for index, listener in enumerate(settings.listeners):
        path = f"listeners.{index}"
        yield from rule_problems(f"{path}.rules", listener.rules, names)
        has_more = listener.rules or listener.redirect_to_https
        if listener.target_group is None and len(names) > 1 and not has_more:
            yield f"{path}.target_group: is missing with {len(names)} groups; choose one of {groups}"
        elif listener.target_group is not None and listener.target_group not in names:
            yield f"{path}.target_group: {listener.target_group!r} is no group; choose one of {groups}"
        if parse_address(listener.address).is_name:
            yield f"{path}.address: {listener.address!r} is a name; write an IP address or unix:/path"
        if (
            listener.proxy_protocol
            and not settings.trusted_proxies
            and not listener.address.startswith("unix:")
        ):
            yield f"{path}.proxy_protocol: is believed of trusted_proxies only; add the network that sends it"
        yield from _https(path, listener, settings)
    parsed = [parse_address(listener.address) for listener in settings.listeners]
    # Port 0 is another port each time, but two listeners must differ in something.
    places = Counter(
        (address, listener.target_group if address.port == 0 else None)
        for address, listener in zip(parsed, settings.listeners, strict=True)
    )
    for (address, _), count in places.items():
        if count > 1:
            yield f"listeners: {str(address)!r} stands {count} times; remove all but one"


def listener_problems(index: int, listener: ListenerSettings) -> list[str]:
    """Return every mistake in one listener's TLS."""
    if listener.tls is None:
        return []
    try:
        certificates.listener_tls(f"listeners.{index}.tls", listener.tls)
    except ConfigError as error:
        return error.problems
    return []


def _https(path: str, listener: ListenerSettings, settings: Settings) -> Iterator[str]:
    if listener.redirect_to_https and listener.tls is not None:
        yield f"{path}.redirect_to_https: this listener speaks TLS already; remove one of the two"
    elif listener.redirect_to_https and listener.https_port is None and not compiled.https_port(settings):
        yield f"{path}.https_port: there is no TLS listener with a port; write the port that clients know"
    for name in ("https_port", "acme_webroot"):
        if getattr(listener, name) is not None and not listener.redirect_to_https:
            yield f"{path}.{name}: means nothing without redirect_to_https = true; add it"
    if listener.acme_webroot is not None and not listener.acme_webroot.is_dir():
        yield f"{path}.acme_webroot: {str(listener.acme_webroot)!r} is no folder; make it"


def _target_tls(name: str, group: TargetGroupSettings) -> Iterator[str]:
    try:
        compiled.target_tls(name, group)
    except ConfigError as error:
        yield from error.problems
    may_discover = group.discovery is not None and (group.discovery.https or group.discovery.type == "file")
    if group.tls != type(group.tls)() and not may_discover and not any(map(_is_https, group.targets)):
        yield f"target_groups.{name}.tls: no target has an https:// address; write https:// before them"


def _is_https(target: TargetSettings) -> bool:
    return parse_address(target.address, default_port=80).is_tls


def admin_problems(admin: AdminSettings) -> Iterator[str]:
    """Return every mistake in the admin listener's settings."""
    address = parse_address(admin.address)
    if address.is_name:
        yield f"admin.address: {admin.address!r} is a name; write an IP address or unix:/path"
        return
    has_token = admin.token_file is not None or os.environ.get("LIMPET_ADMIN_TOKEN")
    if address.host is not None and not ipaddress.ip_address(address.host).is_loopback and not has_token:
        yield (
            f"admin.address: {admin.address!r} is not a loopback address; write 127.0.0.1:PORT or "
            "unix:/path, or add a token_file"
        )


def _files(settings: Settings) -> Iterator[str]:
    for status, path in settings.error_pages.items():
        try:
            is_file = path.is_file()
        except (OSError, ValueError):  # too long, or a NUL in it
            is_file = False
        if not is_file:
            yield f"error_pages.{status}: {str(path)!r} is no file; correct the path"


def _membership(path: str, group: TargetGroupSettings) -> Iterator[str]:
    if not group.targets and group.discovery is None:
        yield f"{path}.targets: is empty; add at least one target"
    yield from target_problems(f"{path}.targets", group.targets)
    if group.discovery is not None:
        yield from discovery_problems(f"{path}.discovery", group.discovery)


def target_problems(path: str, targets: Sequence[TargetSettings]) -> Iterator[str]:
    """Return every mistake in a list of targets."""
    addresses = Counter(str(parse_address(target.address, default_port=80)) for target in targets)
    for address, count in addresses.items():
        if count > 1:
            yield f"{path}: {address!r} stands {count} times; give one target a higher weight instead"
    names = Counter(target.name for target in targets if target.name is not None)
    for name, count in names.items():
        if count > 1:
            yield f"{path}: the name {name!r} stands {count} times; give each target its own"
    for index, target in enumerate(targets):
        if parse_address(target.address, default_port=80).port == 0:
            yield f"{path}.{index}.address: {target.address!r} has port 0; write the target's port"


def _stickiness(path: str, stickiness: StickinessSettings) -> Iterator[str]:
    if stickiness.type == "app_cookie" and stickiness.app_cookie is None:
        yield f"{path}.app_cookie: is missing for type 'app_cookie'; name the application's session cookie"
    if stickiness.type == "header" and stickiness.header is None:
        yield f"{path}.header: is missing for type 'header'; name the header of the session"
    cookie = stickiness.cookie_name or compiled.DEFAULT_COOKIE
    if stickiness.app_cookie in {cookie, f"{cookie}-app"}:
        yield f"{path}.cookie_name: {cookie!r} is the application's cookie; choose another"
    if cookie.startswith("__Host-") and stickiness.domain is not None:
        yield f"{path}.domain: is not possible with a __Host- cookie; remove one of the two"
    if cookie.startswith(("__Host-", "__Secure-")) and stickiness.secure is not True:
        yield f"{path}.secure: a {cookie!r} cookie must be Secure; add secure = true"
    if (stickiness.same_site == "None" or stickiness.partitioned) and stickiness.secure is False:
        yield f"{path}.secure: false goes neither with SameSite=None nor Partitioned; write true"


def _health_check(path: str, group: TargetGroupSettings) -> Iterator[str]:
    check = group.health_check
    for name, count in Counter(name.lower() for name in check.headers).items():
        if name in {"transfer-encoding", "content-length"}:
            yield f"{path}.headers.{name}: a check has no body; remove it"
        if count > 1:
            yield f"{path}.headers: {name!r} stands {count} times; remove all but one"
    for part in check.matcher.split(","):
        low, _, high = part.partition("-")
        if high and int(high) < int(low):
            yield f"{path}.matcher: {part!r} runs backwards; write {high}-{low}"

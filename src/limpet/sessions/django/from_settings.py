"""Django's settings as the `Sessions` of the process, made once."""

from __future__ import annotations

import functools
import os
import threading
from typing import TYPE_CHECKING, Any

from django.conf import settings
from django.contrib.auth import SESSION_KEY
from django.core.exceptions import ImproperlyConfigured
from django.core.signals import setting_changed
from django.utils.module_loading import import_string

from limpet.errors import ConfigError, KeyRingError
from limpet.sessions import CookieSettings, Policy, Sessions
from limpet.sessions.migration import Source, django_source
from limpet.sessions.service import SECRET_VARIABLE, STORE_VARIABLE
from limpet.sessions.session_id import from_setting
from limpet.sessions.stores import open_store

if TYPE_CHECKING:
    from limpet.sessions.balancer import OnMoved

_ABSOLUTE_S = 30 * 86400.0
_DEADLINE_S = 0.25
_LOCK = threading.Lock()


def sessions() -> Sessions:
    """Return the sessions of this process: for lists of devices and for logging out everywhere.

    Users are named as Django names them in a session, by `str(user.pk)`.

    Raises:
        ImproperlyConfigured: no store, or a setting that makes no sense.
    """
    with _LOCK:
        return _made()


@functools.cache
def _made() -> Sessions:
    try:
        return Sessions(
            _store(),
            secret=_secret(),
            policy=_policy(),
            cookie=_cookie(),
            user_field=SESSION_KEY,
            old=_old(),
            encrypt=bool(getattr(settings, "LIMPET_SESSION_ENCRYPT", False)),
            deadline_s=_deadline_s(),
            near_cache=getattr(settings, "LIMPET_SESSION_NEAR_CACHE", None),
            on_moved=_on_moved(),
        )
    except (ConfigError, KeyRingError) as error:
        raise ImproperlyConfigured(str(error)) from error


def _store() -> Any:
    store = getattr(settings, "LIMPET_SESSION_STORE", None) or os.environ.get(STORE_VARIABLE)
    if not store:
        problem = "LIMPET_SESSION_STORE: there is none; write it into the settings or into the environment"
        raise ConfigError([problem])
    return _opened(store, _deadline_s()) if isinstance(store, str) else store


@functools.cache
def _opened(url: str, deadline_s: float) -> Any:
    # Kept apart from `_made`: what is stored in memory outlives a setting that a test overrides.
    return open_store(url, timeout_s=deadline_s / 2)


def _secret() -> Any:
    secret = getattr(settings, "LIMPET_SECRET", None)
    if secret is None and not os.environ.get(SECRET_VARIABLE, "").strip():
        fallbacks = settings.SECRET_KEY_FALLBACKS
        names = "SECRET_KEY or SECRET_KEY_FALLBACKS" if fallbacks else "SECRET_KEY"
        return from_setting([settings.SECRET_KEY, *fallbacks], names)
    if secret is None:
        return None
    return from_setting([secret] if isinstance(secret, str | bytes) else secret, SECRET_VARIABLE)


def _policy() -> Policy | str:
    policy: Policy | str | None = getattr(settings, "LIMPET_SESSION_POLICY", None)
    age_s = float(settings.SESSION_COOKIE_AGE)
    return policy or Policy(idle_s=age_s, absolute_s=max(age_s, _ABSOLUTE_S))


def _cookie() -> CookieSettings:
    # Django sets the cookie; this finds it, and knows the combinations that browsers refuse.
    return CookieSettings(
        name=settings.SESSION_COOKIE_NAME,
        old_names=tuple(getattr(settings, "LIMPET_SESSION_OLD_COOKIE_NAMES", ())),
        secure=bool(settings.SESSION_COOKIE_SECURE),
        domain=settings.SESSION_COOKIE_DOMAIN,
        path=settings.SESSION_COOKIE_PATH,
    )


def _old() -> list[Source]:
    return [
        django_source(engine, cookie)
        for engine, cookie in getattr(settings, "LIMPET_OLD_SESSIONS", {}).items()
    ]


def _on_moved() -> OnMoved | None:
    hook = getattr(settings, "LIMPET_SESSION_ON_MOVED", None)
    try:
        return import_string(hook) if isinstance(hook, str) else hook
    except ImportError as error:
        problem = f"LIMPET_SESSION_ON_MOVED: {hook!r} cannot be imported ({error}); write 'module.function'"
        raise ConfigError([problem]) from error


def _deadline_s() -> float:
    return float(getattr(settings, "LIMPET_SESSION_DEADLINE_S", _DEADLINE_S))


def _forget(*, setting: str, **_: Any) -> None:
    if setting.startswith(("LIMPET_", "SESSION_", "SECRET_")):
        _made.cache_clear()


setting_changed.connect(_forget, dispatch_uid="limpet.sessions.django")

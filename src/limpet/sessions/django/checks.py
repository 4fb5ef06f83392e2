"""Django system checks: settings that limpet's sessions do not follow, and what is wrong with the store."""

from __future__ import annotations

from typing import Any

from django.conf import settings
from django.core import checks
from django.core.exceptions import ImproperlyConfigured

from limpet.sessions.django.from_settings import sessions

_ENGINE = "limpet.sessions.django"
_JSON = "django.contrib.sessions.serializers.JSONSerializer"
_DJANGOS = "django.contrib.sessions.middleware.SessionMiddleware"


def check_settings(**_: Any) -> list[checks.CheckMessage]:
    """Check what can be seen in the settings alone."""
    if settings.SESSION_ENGINE != _ENGINE:
        return []
    try:
        sessions()
    except ImproperlyConfigured as error:
        hint = "see docs/sessions/django.md for the settings"
        return [checks.Error(str(error), hint=hint, id="limpet.E001")]
    found: list[checks.CheckMessage] = []
    if settings.SESSION_SERIALIZER != _JSON:
        what = (
            f"SESSION_SERIALIZER = {settings.SESSION_SERIALIZER!r} has no effect: limpet stores typed "
            "values, never pickles"
        )
        hint = "remove it; see docs/sessions/django.md for the types that a session stores"
        found.append(checks.Warning(what, hint=hint, id="limpet.W002"))
    if settings.SESSION_SAVE_EVERY_REQUEST and _DJANGOS in settings.MIDDLEWARE:
        what = (
            "SESSION_SAVE_EVERY_REQUEST makes Django's middleware set a cookie with every response, also "
            "of a request that began before a login and ends after it"
        )
        hint = "set it to False, or write limpet.sessions.django.SessionMiddleware in place of Django's"
        found.append(checks.Warning(what, hint=hint, id="limpet.W003"))
    return found


def check_store(**_: Any) -> list[checks.CheckMessage]:
    """Ask the store; only for `manage.py check --deploy`."""
    if settings.SESSION_ENGINE != _ENGINE:
        return []
    try:
        findings = sessions().check()
    except ImproperlyConfigured:
        return []  # check_settings says so
    kinds = {"error": checks.Error, "warning": checks.Warning}
    return [kinds[each.severity](each.what, hint=each.fix, id=f"limpet.{each.id}") for each in findings]

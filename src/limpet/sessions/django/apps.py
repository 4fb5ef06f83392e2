"""An optional line of INSTALLED_APPS, for the checks of `manage.py check`."""

from __future__ import annotations

from django.apps import AppConfig
from django.core import checks

from limpet.sessions.django.checks import check_settings, check_store


class LimpetSessionsConfig(AppConfig):  # type: ignore[misc]  # Django brings no types
    """`INSTALLED_APPS += ["limpet.sessions.django"]`."""

    name = "limpet.sessions.django"
    label = "limpet_sessions"
    verbose_name = "limpet sessions"

    def ready(self) -> None:
        """Register the checks."""
        checks.register(check_settings)
        checks.register(check_store, deploy=True)

"""A user in Django's own table, made for one rehearsal and deleted after it."""

from __future__ import annotations

import secrets
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Iterator


def django_user() -> Iterator[dict[str, str]]:
    """Make a superuser, give its name and password, and delete it."""
    from django.contrib.auth import get_user_model  # noqa: PLC0415  # the app is no Django app but if asked

    kind: Any = get_user_model()
    name, password = f"limpet-check-{secrets.token_hex(4)}", secrets.token_urlsafe(16)
    values = dict.fromkeys(kind.REQUIRED_FIELDS, f"{name}@limpet.invalid")
    if kind.get_email_field_name() == kind.USERNAME_FIELD:
        name = f"{name}@limpet.invalid"
    user = kind._default_manager.create_superuser(  # noqa: SLF001  # what Django calls it
        **{kind.USERNAME_FIELD: name, "password": password, **values}
    )
    try:
        yield {"username": name, "password": password}
    finally:
        user.delete()

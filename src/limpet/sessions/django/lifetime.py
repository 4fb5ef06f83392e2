"""Django's `set_expiry` as lifetimes of a session.

Django keeps what was asked for in a field of the session: seconds without activity, 0 for a cookie
that ends with the browser, or a moment as text. Nothing there means the settings.
"""

from __future__ import annotations

from datetime import datetime
from typing import TYPE_CHECKING

from django.conf import settings

if TYPE_CHECKING:
    from limpet.sessions import Session, Sessions

EXPIRY_FIELD = "_session_expiry"


def apply_expiry(session: Session, sessions: Sessions) -> None:
    """Tell a session that is about to be saved how long it lives, if that is new to it."""
    fields, wishes, policy = session.fields, session.wishes, sessions.policy
    is_asked = any(each.change.name == EXPIRY_FIELD for each in fields.unsaved())
    if not (is_asked or session.is_new or wishes.user is not None):
        return
    expiry = fields.get(EXPIRY_FIELD) if EXPIRY_FIELD in fields else None
    now_s = sessions.now_s()
    if isinstance(expiry, str):
        wishes.ends_s = datetime.fromisoformat(expiry).timestamp()
        wishes.idle_s = max(policy.idle_s, wishes.ends_s - now_s)
    else:
        wishes.idle_s = expiry or policy.idle_s
        wishes.ends_s = now_s + max(policy.absolute_s, wishes.idle_s)
    ends_with_browser = settings.SESSION_EXPIRE_AT_BROWSER_CLOSE if expiry is None else expiry == 0
    wishes.is_persistent = not ends_with_browser

"""Django: `SESSION_ENGINE = "limpet.sessions.django"`, and a middleware that adds what an engine cannot.

Sessions keep Django's interface (`request.session`, `login()`, `logout()`, `set_expiry`, ...). The
engine alone never deletes a cookie nor makes a new id because a store did not answer; with
`limpet.sessions.django.SessionMiddleware` in place of Django's own the answer is a 503 instead of a
500, and cookies are set only when there is something to set.
"""

from limpet.sessions.django.from_settings import sessions
from limpet.sessions.django.middleware import SessionMiddleware
from limpet.sessions.django.store import SessionStore

__all__ = ["SessionMiddleware", "SessionStore", "sessions"]

"""Sources of other libraries' sessions: users stay in when an app changes to limpet, and back.

`Sessions(..., old=[FlaskCookie(app.secret_key)])`: whoever has no limpet session yet and shows
the old cookie goes on in a limpet session with the same fields. The old session and its cookie
stay as they are until a logout, so that the old library finds them if it is put back.

To add a source: a file with a `Source`, and a line in `SOURCES`.
"""

from __future__ import annotations

from limpet.sessions.migration.django import (
    DjangoCache,
    DjangoCachedDb,
    DjangoDb,
    DjangoSignedCookies,
    django_source,
)
from limpet.sessions.migration.redis import FlaskSessionRedis, StarsessionsRedis
from limpet.sessions.migration.signed import FlaskCookie, StarletteCookie
from limpet.sessions.migration.source import OldSession, Source

__all__ = [
    "SOURCES",
    "DjangoCache",
    "DjangoCachedDb",
    "DjangoDb",
    "DjangoSignedCookies",
    "FlaskCookie",
    "FlaskSessionRedis",
    "OldSession",
    "Source",
    "StarletteCookie",
    "StarsessionsRedis",
    "django_source",
]

#: Every source by its name, which counts and adopted ids carry.
SOURCES: dict[str, type[Source]] = {
    source.name: source
    for source in (
        DjangoCache,
        DjangoCachedDb,
        DjangoDb,
        DjangoSignedCookies,
        FlaskCookie,
        FlaskSessionRedis,
        StarletteCookie,
        StarsessionsRedis,
    )
}

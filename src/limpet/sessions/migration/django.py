"""Django's own sessions: cache, db, cached_db and signed_cookies.

What a Django setting says is read from the settings, but for the cookie's name: at the switch
`SESSION_COOKIE_NAME` becomes the name of limpet's cookie. The session of whoever is logged in
stays bound to the password as before: its hash (`_auth_user_hash`) is one of the fields.

Source: django.contrib.sessions.backends of Django 4.2 to 6.1.
"""

from __future__ import annotations

import re
from datetime import datetime
from importlib import import_module
from typing import TYPE_CHECKING, Any, ClassVar

from limpet.errors import ConfigError
from limpet.sessions.cookie import CookieSettings
from limpet.sessions.errors import UndecodableError
from limpet.sessions.migration.source import OldSession, Source

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

#: Django makes 32 of [a-z0-9]; it takes what others made if it has 8 characters.
_KEY = re.compile(r"[A-Za-z0-9_-]{8,128}")
_ENGINES = "django.contrib.sessions.backends."


class DjangoSource(Source):
    """Sessions of a Django engine.

    Args:
        engine: module of the old `SESSION_ENGINE`, if it is one's own that derives from Django's.
        cookie: the old `SESSION_COOKIE_NAME`; domain and path are those of the settings.
        user: as for `Source`.
    """

    user_field: ClassVar[str | None] = "_auth_user_id"
    engine: ClassVar[str]

    def __init__(
        self,
        *,
        engine: str | None = None,
        cookie: str | CookieSettings = "sessionid",
        user: Callable[[Mapping[str, Any]], Any] | None = None,
    ) -> None:
        try:
            from django.conf import settings  # noqa: PLC0415
        except ImportError as error:
            raise ConfigError(["sessions.old: sessions of Django need Django; install django"]) from error
        self._settings = settings
        super().__init__(self._cookie(cookie), user=user)
        self._store_class: Any = import_module(engine or _ENGINES + self.engine).SessionStore

    def _cookie(self, cookie: str | CookieSettings) -> CookieSettings:
        if isinstance(cookie, CookieSettings):
            return cookie
        settings = self._settings
        return CookieSettings(
            name=cookie,
            secure=settings.SESSION_COOKIE_SECURE,
            path=settings.SESSION_COOKIE_PATH,
            domain=settings.SESSION_COOKIE_DOMAIN,
        )

    def identify(self, value: str) -> str | None:
        """Return the session key, if it can be one."""
        return value if _KEY.fullmatch(value) else None

    async def aread(self, identity: str, now_s: float) -> OldSession | None:
        """Read in the thread that Django keeps for its connections."""
        from asgiref.sync import sync_to_async  # noqa: PLC0415  # Django brings it

        return await sync_to_async(self.read)(identity, now_s)

    async def aend(self, identity: str) -> None:
        """Remove in the thread that Django keeps for its connections."""
        from asgiref.sync import sync_to_async  # noqa: PLC0415

        await sync_to_async(self.end)(identity)

    def _session(
        self, fields: object, now_s: float, ends_s: float | None = None, written_s: float = 0.0
    ) -> OldSession:
        # Without `ends_s` nobody knows when the session was written: at the latest, now.
        if not isinstance(fields, dict):
            raise UndecodableError(f"a session of Django's {self.engine} engine does not decode")
        settings, expiry = self._settings, fields.get("_session_expiry")
        moment = datetime.fromisoformat(expiry) if isinstance(expiry, str) else expiry
        absolute_end_s = moment.timestamp() if isinstance(moment, datetime) else None
        idle_s = None if absolute_end_s is not None or not expiry else float(expiry)
        ends_with_browser = settings.SESSION_EXPIRE_AT_BROWSER_CLOSE if expiry is None else expiry == 0
        return OldSession(
            fields,
            ends_s or absolute_end_s or now_s + (idle_s or settings.SESSION_COOKIE_AGE),
            is_persistent=not ends_with_browser,
            written_s=written_s,
            idle_s=idle_s if absolute_end_s is None else max(absolute_end_s - now_s, 1.0),
            absolute_end_s=absolute_end_s,
        )

    def _cached(self, identity: str) -> Any:
        return self._cache().get(self._store_class.cache_key_prefix + identity)

    def _uncache(self, identity: str) -> None:
        self._cache().delete(self._store_class.cache_key_prefix + identity)

    def _cache(self) -> Any:
        from django.core.cache import caches  # noqa: PLC0415

        return caches[self._settings.SESSION_CACHE_ALIAS]


def django_source(engine: str, cookie: str) -> Source:
    """Return the source for a Django engine, or for one that derives from Django's.

    Args:
        engine: the old `SESSION_ENGINE`.
        cookie: the old `SESSION_COOKIE_NAME`.
    """
    store_class = import_module(engine).SessionStore
    for source in (DjangoCachedDb, DjangoDb, DjangoCache, DjangoSignedCookies):
        if issubclass(store_class, import_module(_ENGINES + source.engine).SessionStore):
            return source(engine=engine, cookie=cookie)
    raise ConfigError([f"sessions.old: {engine!r} is none of Django's engines, nor does it derive from one"])


class DjangoCache(DjangoSource):
    """`django.contrib.sessions.backends.cache`.

    Django's cache decodes what it stored, as it did before; a cache that is set to ignore errors
    (pymemcache's `ignore_exc`, django-redis' `IGNORE_EXCEPTIONS`) says "not there" when it is down,
    and nobody can tell: turn that off.
    """

    name: ClassVar[str] = "django-cache"
    engine: ClassVar[str] = "cache"

    def read(self, identity: str, now_s: float) -> OldSession | None:
        """Return what the cache has."""
        fields = self._cached(identity)
        return None if fields is None else self._session(fields, now_s)

    def end(self, identity: str) -> None:
        """Remove the session from the cache."""
        self._uncache(identity)


class DjangoDb(DjangoSource):
    """`django.contrib.sessions.backends.db`."""

    name: ClassVar[str] = "django-db"
    engine: ClassVar[str] = "db"

    def read(self, identity: str, now_s: float) -> OldSession | None:
        """Return what the database has; rows that Django would not decode are no sessions."""
        found = self._rows(identity).values_list("session_data", "expire_date").first()
        if found is None or found[1].timestamp() <= now_s:
            return None
        fields = self._decoded(found[0])
        return None if fields is None else self._session(fields, now_s, found[1].timestamp())

    def end(self, identity: str) -> None:
        """Remove the row."""
        self._rows(identity).delete()

    def _rows(self, identity: str) -> Any:
        # From the database that is written to: a replica that lags may not say that nothing is there.
        from django.db import router  # noqa: PLC0415

        model = self._store_class.get_model_class()
        return model.objects.using(router.db_for_write(model)).filter(session_key=identity)

    def _decoded(self, data: str) -> Any:
        from django.core import signing  # noqa: PLC0415

        store = self._store_class()
        try:
            return signing.loads(data, salt=store.key_salt, serializer=store.serializer)
        except signing.BadSignature:
            self.tell_unsigned()
            return None  # of a SECRET_KEY that is gone: Django has logged that user out already
        except Exception as error:
            raise UndecodableError(f"a session of Django does not decode ({type(error).__name__})") from error


class DjangoCachedDb(DjangoDb):
    """`django.contrib.sessions.backends.cached_db`: from the cache, else from the database."""

    name: ClassVar[str] = "django-cached-db"
    engine: ClassVar[str] = "cached_db"

    def read(self, identity: str, now_s: float) -> OldSession | None:
        """Return what the cache has, else what the database has; the latter alone can say no."""
        try:
            fields = self._cached(identity)
        except Exception:  # noqa: BLE001  # whatever a cache raises, the database knows
            fields = None
        return super().read(identity, now_s) if fields is None else self._session(fields, now_s)

    def end(self, identity: str) -> None:
        """Remove the row, and the copy in the cache."""
        super().end(identity)
        self._uncache(identity)


class DjangoSignedCookies(DjangoSource):
    """`django.contrib.sessions.backends.signed_cookies`."""

    name: ClassVar[str] = "django-signed-cookies"
    engine: ClassVar[str] = "signed_cookies"

    def identify(self, value: str) -> str | None:
        """Return the cookie if Django would take it."""
        return value if self._loaded(value) is not None else None

    def read(self, identity: str, now_s: float) -> OldSession | None:
        """Return what the cookie says."""
        from django.core import signing  # noqa: PLC0415

        fields = self._loaded(identity)
        written_s = float(signing.b62_decode(identity.rsplit(":", 2)[1]))
        return self._session(fields, now_s, written_s + self._settings.SESSION_COOKIE_AGE, written_s)

    def end(self, identity: str) -> None:
        """Nothing is stored; the response clears the cookie."""

    def _loaded(self, value: str) -> Any:
        from django.core import signing  # noqa: PLC0415

        store = self._store_class()
        try:
            return signing.loads(
                value,
                serializer=store.serializer,
                max_age=store.get_session_cookie_age(),
                salt=_ENGINES + "signed_cookies",
            )
        except Exception as error:  # noqa: BLE001  # as Django does: what it does not take is no session
            if isinstance(error, signing.BadSignature) and not isinstance(error, signing.SignatureExpired):
                self.tell_unsigned()
            return None

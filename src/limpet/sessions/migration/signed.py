"""Sessions that live in a cookie signed by itsdangerous: Flask's own, and Starlette's."""

from __future__ import annotations

import json
from base64 import b64decode
from typing import TYPE_CHECKING, Any, ClassVar

from limpet.errors import ConfigError
from limpet.sessions.errors import UndecodableError
from limpet.sessions.migration.source import LONGEST_S, OldSession, Source

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from limpet.sessions.cookie import CookieSettings

_DAY_S = 86400


class SignedCookie(Source):
    """A session that is its cookie: to identify it is to verify it, and there is nothing to remove.

    What keeps such a cookie from coming back after a logout is the trace that limpet leaves.
    """

    def end(self, identity: str) -> None:
        """Nothing is stored; the response clears the cookie."""

    async def aread(self, identity: str, now_s: float) -> OldSession | None:
        """Read at once; nothing waits."""
        return self.read(identity, now_s)

    async def aend(self, identity: str) -> None:
        """Nothing is stored."""


class FlaskCookie(SignedCookie):
    """Flask's own session cookie; `_user_id` of Flask-Login is who is logged in.

    Args:
        secret_key: the app's `SECRET_KEY`.
        fallbacks: its `SECRET_KEY_FALLBACKS`.
        lifetime_s: its `PERMANENT_SESSION_LIFETIME`.
        cookie, user: as for `Source`.
    """

    name: ClassVar[str] = "flask"
    user_field: ClassVar[str | None] = "_user_id"

    def __init__(
        self,
        secret_key: str | bytes,
        *,
        fallbacks: Sequence[str | bytes] = (),
        lifetime_s: float = 31 * _DAY_S,
        cookie: str | CookieSettings = "session",
        user: Callable[[Mapping[str, Any]], Any] | None = None,
    ) -> None:
        super().__init__(cookie, user=user)
        try:
            from flask.sessions import SecureCookieSessionInterface  # noqa: PLC0415
            from itsdangerous import URLSafeTimedSerializer, want_bytes  # noqa: PLC0415
        except ImportError as error:
            raise ConfigError(["sessions.old: FlaskCookie needs Flask; install flask"]) from error
        flask = SecureCookieSessionInterface
        self._lifetime_s = lifetime_s
        self._serializer: Any = URLSafeTimedSerializer(
            [want_bytes(key) for key in (*fallbacks, secret_key)],
            salt=flask.salt,
            serializer=flask.serializer,
            signer_kwargs={"key_derivation": flask.key_derivation, "digest_method": flask.digest_method},
        )

    def identify(self, value: str) -> str | None:
        """Return the cookie if Flask would take it."""
        from itsdangerous import BadSignature, SignatureExpired  # noqa: PLC0415

        try:
            self._signer().unsign(value, max_age=int(self._lifetime_s))
        except SignatureExpired:
            return None
        except BadSignature:
            self.tell_unsigned()
            return None
        return value

    def read(self, identity: str, now_s: float) -> OldSession | None:  # noqa: ARG002  # signed a moment ago or not
        """Return what the cookie says."""
        from itsdangerous import BadData  # noqa: PLC0415

        try:
            fields, signed = self._serializer.loads(identity, return_timestamp=True)
        except BadData as error:
            raise UndecodableError(f"a cookie of Flask does not decode ({type(error).__name__})") from None
        written_s = signed.timestamp()
        return OldSession(fields, written_s + self._lifetime_s, fields.pop("_permanent", False), written_s)

    def _signer(self) -> Any:
        return self._serializer.make_signer(self._serializer.salt)


class StarletteCookie(SignedCookie):
    """The cookie of Starlette's `SessionMiddleware` (FastAPI's too).

    Args:
        secret_key, max_age_s: as the middleware has them.
        cookie, user: as for `Source`.
    """

    name: ClassVar[str] = "starlette"

    def __init__(
        self,
        secret_key: str,
        *,
        max_age_s: int | None = 14 * _DAY_S,
        cookie: str | CookieSettings = "session",
        user: Callable[[Mapping[str, Any]], Any] | None = None,
    ) -> None:
        super().__init__(cookie, user=user)
        try:
            from itsdangerous import TimestampSigner  # noqa: PLC0415
        except ImportError as error:
            problem = "sessions.old: StarletteCookie needs itsdangerous; install itsdangerous"
            raise ConfigError([problem]) from error
        self._signer = TimestampSigner(str(secret_key))
        self._max_age_s = max_age_s

    def identify(self, value: str) -> str | None:
        """Return the cookie if Starlette would take it."""
        from itsdangerous import BadSignature, SignatureExpired  # noqa: PLC0415

        try:
            self._signer.unsign(value, max_age=self._max_age_s)
        except SignatureExpired:
            return None
        except BadSignature:
            self.tell_unsigned()
            return None
        return value

    def read(self, identity: str, now_s: float) -> OldSession | None:
        """Return what the cookie says."""
        payload, signed = self._signer.unsign(identity, return_timestamp=True)
        try:
            fields = json.loads(b64decode(payload))
        except ValueError as error:
            problem = f"a cookie of Starlette does not decode ({type(error).__name__})"
            raise UndecodableError(problem) from None
        written_s = signed.timestamp()
        ends_s = now_s + LONGEST_S if self._max_age_s is None else written_s + self._max_age_s
        return OldSession(fields, ends_s, self._max_age_s is not None, written_s)

"""What can go wrong with a session; each error says what the client may be told."""

from __future__ import annotations

from limpet.errors import LimpetError


class SessionError(LimpetError):
    """The base of all errors of the session layer."""


class StoreUnavailableError(SessionError):
    """The store did not say yes or no: down, slow, loading, read-only, or its answer made no sense.

    It says nothing about the session. Answer 503 with Retry-After; set no cookie and clear none.

    Args:
        detail: what happened, for the log; no id, no key, no value.
        retry_after_s: whole seconds after which another try makes sense.
        is_news: False if the store was not even asked, because it did not answer a moment ago.
    """

    def __init__(self, detail: str, *, retry_after_s: int = 1, is_news: bool = True) -> None:
        super().__init__(detail)
        self.retry_after_s = retry_after_s
        self.is_news = is_news


class TooLateError(SessionError):
    """The headers of the response are out: what the session became can no longer be told to the client."""


class NotReplicatedError(StoreUnavailableError):
    """It was done, but fewer replicas than asked for have said in time that they have it."""


class UndecodableError(StoreUnavailableError):
    """Stored bytes that are not what limpet writes: unknown, which is not the same as empty."""


class UnsupportedValueError(SessionError, TypeError):
    """A value of a type that a session does not store."""


class SessionConflictError(SessionError):
    """Another request changed the same field, and the field's merge rule found no answer."""


class LoginNotFreshError(SessionError):
    """The login is older than the action allows; ask for the password again (ASVS 7.5.1)."""


class SessionTooLargeError(SessionError, ValueError):
    """The session is larger than the store takes; nothing of this request was saved."""


class NotSupportedByStoreError(SessionError):
    """The store cannot do this; the message says what to do instead."""


def outage_behind(error: BaseException | None) -> StoreUnavailableError | None:
    """Return the silent store that an error comes from, if it does; frameworks wrap errors."""
    while error is not None and not isinstance(error, StoreUnavailableError):
        if isinstance(error, BaseExceptionGroup):
            return next(filter(None, map(outage_behind, error.exceptions)), None)
        error = error.__cause__ or error.__context__
    return error

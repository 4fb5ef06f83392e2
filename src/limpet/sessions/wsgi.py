"""Sessions for WSGI apps, whatever they are made with; Flask and Django have modules of their own.

The session is put into `environ["limpet.session"]`. It is saved when the first byte of the response is
about to go out: the app may call `start_response` early or late, once or (with `exc_info`) twice. From
then on it refuses changes, for they could not be told to the client. An app that raises instead of
answering saves nothing.

A store that does not say whether the session lives makes the answer 503, with no cookie set or cleared:
when the app lets `StoreUnavailableError` through or makes its plain 500 of it, and when the save fails.
Any other answer that the app makes of it goes out as it is.

Source: PEP 3333.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, TypeAlias, Unpack

from limpet.sessions.balancer import told_in
from limpet.sessions.errors import StoreUnavailableError, outage_behind
from limpet.sessions.headers import OUTAGE_BODY, Headers, after_outage, merge, of_outage
from limpet.sessions.service import Options, Sessions

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator

    from limpet.sessions.session import Session

    Environ: TypeAlias = dict[str, Any]
    StartResponse: TypeAlias = Callable[..., Callable[[bytes], object]]
    App: TypeAlias = Callable[[Environ, StartResponse], Iterable[bytes]]

#: Where the app finds its session.
KEY = "limpet.session"
_SAFE_METHODS = {"GET", "HEAD", "OPTIONS", "TRACE"}


class SessionMiddleware:
    """Give a WSGI app sessions that every server can read: `app = SessionMiddleware(app, store=...)`.

    Args:
        app: the app inside; it finds the session as `environ["limpet.session"]`.
        sessions: made elsewhere, for lists of devices and for revoking.
        options: as for `Sessions`, if none are given.

    Raises:
        ConfigError: no store, no secret, or settings that browsers refuse.
        KeyRingError: a secret that is too short.
    """

    def __init__(self, app: App, sessions: Sessions | None = None, **options: Unpack[Options]) -> None:
        if sessions is not None and options:
            raise TypeError("with sessions=, other options belong to Sessions(...)")
        self.app = app
        self.sessions = sessions if sessions is not None else Sessions(**options)

    def __call__(self, environ: Environ, start_response: StartResponse) -> Iterable[bytes]:
        """Serve a request."""
        if KEY in environ:  # a middleware outside of this one counts
            return self.app(environ, start_response)
        # Not when the app is made: servers fork after that.
        self.sessions.tell_findings()
        return _Response(self.sessions, environ, start_response).run(self.app, environ)


class _Response:
    # One request and its response. What the app gives to `start_response` is noted down, and passed on when
    # the first bytes of the body follow.

    def __init__(self, sessions: Sessions, environ: Environ, start_response: StartResponse) -> None:
        self._sessions = sessions
        self._start_response = start_response
        self._is_head = environ["REQUEST_METHOD"] == "HEAD"
        self._scheme = environ.get("wsgi.url_scheme", "")
        self._file_wrapper = environ.get("wsgi.file_wrapper")
        self._session = environ[KEY] = sessions.open_header(
            environ.get("HTTP_COOKIE", "").encode("latin-1"),
            address=environ.get("REMOTE_ADDR", ""),
            user_agent=environ.get("HTTP_USER_AGENT", ""),
            is_safe=environ["REQUEST_METHOD"] in _SAFE_METHODS,
            told=told_in(environ),
        )
        self._noted: tuple[str, Headers] | None = None
        self._added: Headers = []
        self._write: Callable[[bytes], object] | None = None

    def run(self, app: App, environ: Environ) -> Iterable[bytes]:
        chunks: Iterable[bytes] = ()
        self._sessions.balancer.tell_moved(self._session)
        try:
            chunks = app(environ, self._note)
            if self._is_sent_as_it_is(chunks):
                self._begin()
                return chunks
        except Exception as error:
            outage = self._outage(error)
            if outage is None:
                raise
            _close(chunks)
            return self._refuse(outage)
        return _Body(self._stream(chunks), chunks, self._session, self._sessions)

    def _is_sent_as_it_is(self, chunks: Iterable[bytes]) -> bool:
        # Nothing of the app runs while these are sent, and the server may know a better way to do it.
        if isinstance(chunks, list | tuple):
            return True
        return isinstance(self._file_wrapper, type) and isinstance(chunks, self._file_wrapper)

    def _stream(self, chunks: Iterable[bytes]) -> Iterator[bytes]:
        try:
            for chunk in chunks:
                self._begin()
                yield chunk
            self._begin()
        except Exception as error:
            outage = self._outage(error)
            if outage is None:
                raise
            yield from self._refuse(outage)

    def _note(self, status: str, headers: Headers, exc_info: Any = None) -> Callable[[bytes], object]:
        if self._write is not None:  # too late, or just in time: the server knows
            return self._start_response(status, merge(headers, self._added), exc_info)
        if self._noted is not None and exc_info is None:
            raise AssertionError("start_response was called twice, the second time without exc_info")
        self._noted = status, headers
        return self._write_out

    def _write_out(self, data: bytes) -> None:
        self._begin()
        if self._write is not None:
            self._write(data)

    def _begin(self) -> None:
        # An app that has not called start_response is left to the server, which will say so.
        if self._write is not None or self._noted is None:
            return
        status, headers = self._noted
        if status.startswith("500") and self._session.refusal is not None:
            raise self._session.refusal
        self._added = self._save()
        self._added += self._sessions.balancer.tell(self._session)
        self._session.close()
        self._write = self._start_response(status, merge(headers, self._added))

    def _save(self) -> Headers:
        session = self._session
        if session.refusal is not None:
            return after_outage(accessed=session.accessed)
        if not session.accessed:
            return []
        try:
            headers = self._sessions.save(session)
        except StoreUnavailableError as error:
            session.refusal = error
            raise
        self._sessions.tell_scheme(headers, self._scheme)
        return headers

    def _outage(self, error: Exception) -> StoreUnavailableError | None:
        # Why the answer is 503, if it is and can still be.
        return outage_behind(error) if self._write is None else None

    def _refuse(self, outage: StoreUnavailableError) -> list[bytes]:
        self._session.standing.is_silent = True
        headers = of_outage(outage, accessed=self._session.accessed)
        headers += self._sessions.balancer.tell(self._session)
        self._write = self._start_response("503 Service Unavailable", headers)
        return [] if self._is_head else [OUTAGE_BODY]


class _Body:
    # A body that the app still makes while it is sent.

    def __init__(
        self, stream: Iterator[bytes], chunks: Iterable[bytes], session: Session, sessions: Sessions
    ) -> None:
        self._stream = stream
        self._chunks = chunks
        self._session = session
        self._sessions = sessions

    def __iter__(self) -> Iterator[bytes]:
        return self._stream

    def close(self) -> None:
        try:
            _close(self._chunks)
        finally:
            late = self._session.late_changes()
            if late:
                self._sessions.events.changed_late(late)


def _close(chunks: Iterable[bytes]) -> None:
    close = getattr(chunks, "close", None)
    if close is not None:
        close()

"""What only a middleware can do for a session: the answer to the browser.

Django's own takes a store that does not answer for a crash, and sets a cookie with every change. This
one answers 503, and sets the cookie when it is new, rotated or renewed, and deletes it at a logout.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from asgiref.sync import sync_to_async
from django.conf import settings
from django.contrib.sessions import middleware
from django.contrib.sessions.backends.base import UpdateError
from django.http import HttpResponse
from django.utils.cache import patch_vary_headers

from limpet.sessions.balancer import told_in
from limpet.sessions.decide import CookieAct
from limpet.sessions.django.from_settings import sessions
from limpet.sessions.django.store import SessionStore
from limpet.sessions.errors import SessionConflictError, StoreUnavailableError
from limpet.sessions.migration.adopt import find_offers
from limpet.sessions.request_state import Client

if TYPE_CHECKING:
    from limpet.sessions import Sessions

_SAFE = {"GET", "HEAD", "OPTIONS", "TRACE"}
_FAILED = 500
#: What is no crash: 503 for a store that does not answer, 409 for a session that another request changed.
_ANSWERED = (StoreUnavailableError, SessionConflictError, UpdateError)


class SessionMiddleware(middleware.SessionMiddleware):  # type: ignore[misc]  # Django brings no types
    """Django's session middleware for limpet's sessions; other engines get Django's behaviour.

    Raises:
        ImproperlyConfigured: at the start: no store, or a setting that makes no sense.
    """

    def __init__(self, get_response: Any) -> None:
        super().__init__(get_response)
        self._is_for_limpet = issubclass(self.SessionStore, SessionStore)
        if self._is_for_limpet:
            sessions()

    def __call__(self, request: Any) -> Any:
        """Answer a request."""
        try:
            response = super().__call__(request)
        except _ANSWERED as error:
            response = _refusal(error)  # Django's error page needed the session, too
        return _telling(request, response)

    async def __acall__(self, request: Any) -> Any:
        """Answer a request without blocking the event loop."""
        try:
            response = await self._aanswer(request)
        except _ANSWERED as error:
            response = _refusal(error)
        return _telling(request, response)

    async def _aanswer(self, request: Any) -> Any:
        self._open(request)
        if self._is_for_limpet and request.session.is_slow:
            await request.session.preload()
        if self._is_for_limpet:
            await request.session.atell_moved()
        response = await self.get_response(request)
        session = getattr(request, "session", None)
        if not isinstance(session, SessionStore):
            return await sync_to_async(super().process_response)(request, response)
        if response.status_code < _FAILED:
            await session.afinish(is_visit=settings.SESSION_SAVE_EVERY_REQUEST)
        return _answered(request, session, response)

    def process_request(self, request: Any) -> None:
        """Open the request's session; no I/O."""
        self._open(request)
        if self._is_for_limpet:
            request.session.tell_moved()

    def _open(self, request: Any) -> None:
        if not self._is_for_limpet:
            super().process_request(request)
            return
        service = sessions()
        service.tell_findings()
        request.session = self.SessionStore(_cookie_of(request, service))
        user_agent = request.META.get("HTTP_USER_AGENT", "")[:200]
        address = request.META.get("REMOTE_ADDR", "")
        told = told_in(request.META)
        request.session.client = Client(address, user_agent, request.method in _SAFE, told)
        request.session.offers = find_offers(service.old, request.COOKIES)

    def process_response(self, request: Any, response: Any) -> Any:
        """Save the session, and tell the browser what it must know."""
        session = getattr(request, "session", None)
        if not isinstance(session, SessionStore):
            return super().process_response(request, response)
        if response.status_code < _FAILED:
            session.finish(is_visit=settings.SESSION_SAVE_EVERY_REQUEST)
        return _answered(request, session, response)

    def process_exception(self, request: Any, exception: Exception) -> Any:  # noqa: ARG002  # Django's signature
        """Answer for a view that met a store that does not answer, or a session that is over."""
        is_ours = self._is_for_limpet and isinstance(exception, _ANSWERED)
        return _refusal(exception) if is_ours else None


def _cookie_of(request: Any, service: Sessions) -> str | None:
    # In `request.COOKIES` the last of several cookies of one name has won; a sibling domain can set one.
    header = request.META.get("HTTP_COOKIE", "").encode("latin-1", "replace")
    values = [*service.cookie.find_in_header(header), *service.cookie.find_all(request.COOKIES)]
    return service.newest(list(dict.fromkeys(values))) if values else None


def _answered(request: Any, session: SessionStore, response: Any) -> Any:
    if session.failure is not None and response.status_code == _FAILED:
        # A middleware met it, and Django took it for a crash.
        return _refusal(session.failure)
    answer = session.answer
    if answer.session_id is not None:
        _set_cookie(response, sessions().ring.sign(answer.session_id), answer.max_age_s)
    stale = _stale_names(request, answer.cookie)
    _delete_cookies(response, stale)
    left = [] if session.offers else find_offers(sessions().old, request.COOKIES)
    for offer in left:
        cookie = offer.source.cookie
        response.delete_cookie(cookie.full_name, path=cookie.path, domain=cookie.domain)
    if answer.session_id is not None or stale or left:
        return _uncached(response)
    if session.accessed or settings.SESSION_SAVE_EVERY_REQUEST:
        patch_vary_headers(response, ("Cookie",))
    return response


def _telling(request: Any, response: Any) -> Any:
    session = getattr(request, "session", None)
    if isinstance(session, SessionStore):
        for name, value in session.state():
            response.headers[name] = value
    return response


def _stale_names(request: Any, act: CookieAct) -> list[str]:
    cookie = sessions().cookie
    names = {CookieAct.KEEP: (), CookieAct.SET: cookie.old_names}.get(
        act, (cookie.full_name, *cookie.old_names)
    )
    return [name for name in names if name in request.COOKIES]


def _set_cookie(response: Any, value: str, max_age_s: int | None) -> None:
    response.set_cookie(
        settings.SESSION_COOKIE_NAME,
        value,
        max_age=max_age_s,
        domain=settings.SESSION_COOKIE_DOMAIN,
        path=settings.SESSION_COOKIE_PATH,
        secure=settings.SESSION_COOKIE_SECURE,
        httponly=settings.SESSION_COOKIE_HTTPONLY,
        samesite=settings.SESSION_COOKIE_SAMESITE,
    )


def _delete_cookies(response: Any, names: list[str]) -> None:
    for name in names:
        response.delete_cookie(
            name,
            path=settings.SESSION_COOKIE_PATH,
            domain=settings.SESSION_COOKIE_DOMAIN,
            samesite=settings.SESSION_COOKIE_SAMESITE,
        )


def _refusal(error: Exception) -> Any:
    if isinstance(error, StoreUnavailableError):
        response = HttpResponse("Try again in a moment.\n", status=503, content_type="text/plain")
        response.headers["Retry-After"] = str(error.retry_after_s)
        return _uncached(response)
    text = "Your session changed while this was under way; load the page again.\n"
    return _uncached(HttpResponse(text, status=409, content_type="text/plain"))


def _uncached(response: Any) -> Any:
    patch_vary_headers(response, ("Cookie",))
    # Django's own cache keeps what is only "no-store", until its security releases of 2026.
    response.headers["Cache-Control"] = "no-store, private"
    return response

"""Was somebody logged out who should be in? The number that the product promises to keep at 0.

A session layer that tells says for certain whether anybody is logged in, and why a session is over. Of any
other app only the surface is seen: whoever has sent a login form and was sent on is in, and whoever is in
and is sent to a login page, or told 401, is out. A logout counts too, with a cause of its own, so that
the others can be compared with it.

    moved           another target answered than the one before, and did not know the user
    expired         the session's time was over
    store_miss      the store has lost it
    bad_signature   the target could not read its cookie: servers with different secrets
    revoked         ended from elsewhere, as "log out everywhere" does
    app_logout      the user asked for it
    unknown         none of these: the balancer had no part in it
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from limpet.core.cookies import parse_set_cookie
from limpet.core.stickiness.contract import StickyStatus

if TYPE_CHECKING:
    from limpet.core.active_sessions import ActiveSession
    from limpet.core.request import RequestHead, ResponseHead

#: Statuses that may tell of a logout.
REDIRECTS = frozenset({301, 302, 303, 307, 308})
UNAUTHORIZED = 401
_LOGIN = re.compile(
    rb"(?i)(?:^|[/._-])(?:log[-_]?in|sign[-_]?in|logon|auth(?:enticate|orize)?|sso|oauth2?)(?:$|[/._?#-])"
)
_LOGOUT = re.compile(rb"(?i)(?:^|[/._-])(?:log[-_]?out|sign[-_]?out|logoff)(?:$|[/._?#-])")
_ORIGIN = re.compile(rb"(?i)^(?:[a-z][a-z0-9+.-]*:)?//[^/?#]*")
#: Session cookies whose value a server keeps as long as it knows the session. Those that change with
#: their contents (Flask's, Starlette's) would tell nothing.
_SERVER_SIDE = frozenset({b"sessionid", b"PHPSESSID", b"JSESSIONID", b"connect.sid", b"ASP.NET_SessionId"})
_ENDED = {
    "logout": "app_logout",
    "idle": "expired",
    "absolute": "expired",
    "lost": "store_miss",
    "bad_signature": "bad_signature",
    "unknown_key": "bad_signature",
    "revoked": "revoked",
}
_ELSEWHERE = frozenset(
    {
        StickyStatus.MOVED,
        StickyStatus.LENT,
        StickyStatus.TARGET_LEAVING,
        StickyStatus.TARGET_DRAINING,
        StickyStatus.TARGET_GONE,
        StickyStatus.TARGET_UNAVAILABLE,
    }
)


def suspect(
    session: ActiveSession, request: RequestHead, response: ResponseHead, status: StickyStatus, wall_s: float
) -> str:
    """Look at a response, note in the session whether anybody is in, and say why somebody seems to be out.

    Args:
        status: what became of the request's stickiness.
        wall_s: wall clock.

    Returns:
        The cause; "" if nobody was logged out.
    """
    was_in = session.is_in
    state = response.state
    if state is not None and state.has_user is not None:
        session.is_in = state.has_user
        return _cause(state.ended, request, status) if was_in and not state.has_user else ""
    path = request.path.partition(b"?")[0]
    if was_in and _LOGOUT.search(path) and response.status < 400:
        session.is_in = False
        return "app_logout"
    if _LOGIN.search(path):
        session.is_in = was_in or _has_logged_in(request, response)
        return ""
    if was_in and (_is_sent_to_login(response) or _has_new_cookie(request, response, status, wall_s)):
        session.is_in = False
        return _cause("", request, status)
    return ""


def may_tell(request: RequestHead, response: ResponseHead) -> bool:
    """Return whether a response is worth a look."""
    return (
        response.state is not None
        or response.status == UNAUTHORIZED
        or response.status in REDIRECTS
        or request.method == b"POST"
    )


def _cause(ended: str, request: RequestHead, status: StickyStatus) -> str:
    known = _ENDED.get(ended)
    if known is not None:
        return known
    if _LOGOUT.search(request.path.partition(b"?")[0]):
        return "app_logout"
    return "moved" if status in _ELSEWHERE else "unknown"


def _has_logged_in(request: RequestHead, response: ResponseHead) -> bool:
    if request.method != b"POST":
        return False
    if response.status in REDIRECTS:
        return not _is_sent_to_login(response)
    # An API answers without sending on; a form that is shown again is text/html.
    is_page = (response.header(b"content-type") or b"").lower().startswith(b"text/html")
    return 200 <= response.status < 300 and not is_page


def _is_sent_to_login(response: ResponseHead) -> bool:
    if response.status == UNAUTHORIZED:
        return True
    location = response.header(b"location") if response.status in REDIRECTS else None
    return location is not None and bool(_LOGIN.search(_ORIGIN.sub(b"", location).partition(b"?")[0]))


def _has_new_cookie(
    request: RequestHead, response: ResponseHead, status: StickyStatus, wall_s: float
) -> bool:
    # Only of a request that came elsewhere: at home an app may renew its id.
    if status not in _ELSEWHERE:
        return False
    for value in response.values(b"set-cookie"):
        cookie = parse_set_cookie(value, wall_s)
        if cookie is not None and cookie.name in _SERVER_SIDE and cookie.name + b"=" in request.fields.cookie:
            return True
    return False

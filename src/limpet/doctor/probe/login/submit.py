"""What follows credentials: redirects, and whether they were taken."""

from __future__ import annotations

from typing import TYPE_CHECKING
from urllib.parse import urljoin, urlsplit

from limpet.doctor.probe.login.way import Attempt
from limpet.doctor.probe.safety import ForbiddenError

if TYPE_CHECKING:
    from limpet.doctor.evidence import Visit
    from limpet.doctor.probe.client import Reply
    from limpet.doctor.probe.visitor import Visitor

_MAX_REDIRECTS = 5
_REDIRECTS = frozenset({301, 302, 303, 307, 308})


async def submit(
    visitor: Visitor,
    url: str,
    body: bytes,
    content_type: str,
    *,
    page_url: str,
    before: Visit | None = None,
    form_url: str = "",
    headers: tuple[tuple[str, str], ...] = (),
) -> Attempt:
    """Send credentials and follow where they lead.

    Args:
        form_url: the page with the form, to which a failed login leads back.
    """
    with visitor.client.logging_in():
        reply, answer = await visitor.go(
            url, method="POST", body=body, headers=(("content-type", content_type), *headers)
        )
    visitor.jar_after_submit = visitor.jar.copy()
    follow = await _follow(visitor, reply)
    is_accepted = _is_accepted(reply, answer, url, page_url, form_url)
    return Attempt(is_accepted=is_accepted, before=before, submit=answer, follow=follow)


async def _follow(visitor: Visitor, reply: Reply) -> tuple[Visit, ...]:
    visits = []
    for _ in range(_MAX_REDIRECTS):
        location = reply.header("location")
        if reply.status not in _REDIRECTS or not location:
            break
        try:
            reply, visit = await visitor.go(urljoin(reply.url, location))
        except ForbiddenError:
            break  # what lies outside is recorded as the last answer's location
        visits.append(visit)
    return tuple(visits)


def _is_accepted(reply: Reply, answer: Visit, url: str, page_url: str, form_url: str) -> bool:
    if not 200 <= reply.status < 400:
        return False
    if reply.status in _REDIRECTS:
        # Back to the form, which is not the page that was asked for: refused.
        target = urlsplit(urljoin(reply.url, reply.header("location"))).path
        forms = {urlsplit(each).path for each in (url, form_url) if each}
        return target not in forms or target == urlsplit(page_url).path
    return not answer.page.has_password_field

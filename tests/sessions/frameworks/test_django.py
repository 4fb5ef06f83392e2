"""Overlapping requests under Django, on every store, with threads and in an event loop."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import django_project
import overlap
import pytest
from django_project import asgi, wsgi

from limpet.sessions.django import sessions

if TYPE_CHECKING:
    from limpet.sessions.stores import Store

pytestmark = pytest.mark.usefixtures("django_users")


class Prefixed:
    """A site whose blocking and asynchronous routes differ by a prefix."""

    def __init__(self, site: Any, prefix: str) -> None:
        self._site, self._prefix = site, prefix

    def request(self, method: str, target: str, *rest: Any) -> Any:
        return self._site.request(method, self._prefix + target, *rest)


class Forgiving:
    """A site whose 400 counts as an answer: what Django's own middleware says to an overtaken request."""

    def __init__(self, site: Any) -> None:
        self._site = site

    def request(self, *rest: Any) -> Any:
        answer = self._site.request(*rest)
        answer.status = 200 if answer.status == 400 else answer.status
        return answer


@pytest.mark.parametrize("case", overlap.CASES, ids=str)
def test_overlap(store: Store, case: overlap.Case) -> None:
    gate = django_project.new_gate()
    with wsgi(LIMPET_SESSION_STORE=store) as site:
        overlap.check(site, gate, case, revoke=sessions().revoke_user)


@pytest.mark.parametrize("case", overlap.CASES, ids=str)
def test_overlap_in_an_event_loop(store: Store, case: overlap.Case) -> None:
    gate = django_project.new_gate()
    with asgi(LIMPET_SESSION_STORE=store) as site:
        overlap.check(Prefixed(site, "/async"), gate, case, revoke=sessions().revoke_user)


@pytest.mark.parametrize("case", overlap.CASES, ids=str)
def test_overlap_with_djangos_own_middleware(case: overlap.Case) -> None:
    gate = django_project.new_gate()
    middleware = django_project.middleware(django_project.DJANGOS)
    with wsgi(LIMPET_SESSION_STORE="memory://", MIDDLEWARE=middleware) as site:
        overlap.check(Forgiving(site), gate, case, revoke=sessions().revoke_user)

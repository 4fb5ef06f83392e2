"""Django over limpet: overlapping requests, and what a session says, does and costs."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import django_project
import overlap
import pytest
from django.conf import settings
from django.test import override_settings
from sites import AsgiSite, WsgiSite

from limpet.sessions.django import sessions

if TYPE_CHECKING:
    from limpet.sessions.stores import Store

ENGINES = {"djangos": django_project.DJANGOS, "limpets": django_project.LIMPETS}


@pytest.fixture(scope="session", autouse=True)
def project(tmp_path_factory: pytest.TempPathFactory) -> None:
    """Set up Django, once."""
    if not settings.configured:
        django_project.configure(str(tmp_path_factory.mktemp("django") / "db.sqlite3"))
        django_project.make_users()


class Prefixed:
    """A site whose blocking and asynchronous routes differ by a prefix."""

    def __init__(self, site: Any, prefix: str) -> None:
        self._site, self._prefix = site, prefix

    def request(self, method: str, target: str, *rest: Any) -> Any:
        return self._site.request(method, self._prefix + target, *rest)


def wsgi() -> WsgiSite:
    from django.core.handlers.wsgi import WSGIHandler

    return WsgiSite(WSGIHandler())


def asgi() -> AsgiSite:
    from django.core.handlers.asgi import ASGIHandler

    return AsgiSite(ASGIHandler(), on_close=sessions().store.aclose)


@pytest.mark.parametrize("case", overlap.CASES, ids=str)
def test_overlap(store: Store, case: overlap.Case) -> None:
    django_project.gate = overlap.Gate()
    with override_settings(LIMPET_SESSION_STORE=store), wsgi() as site:
        overlap.check(site, django_project.gate, case, revoke=sessions().revoke_user)


@pytest.mark.parametrize("case", overlap.CASES, ids=str)
def test_overlap_in_an_event_loop(store: Store, case: overlap.Case) -> None:
    django_project.gate = overlap.Gate()
    with override_settings(LIMPET_SESSION_STORE=store), asgi() as site:
        overlap.check(Prefixed(site, "/async"), django_project.gate, case, revoke=sessions().revoke_user)

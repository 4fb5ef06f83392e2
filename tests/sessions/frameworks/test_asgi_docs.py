"""What docs/sessions/README.md, near-cache.md, asgi.md, litestar.md and wsgi.md show is run."""

from __future__ import annotations

import re
import sys
from pathlib import Path
from types import ModuleType
from typing import Annotated, Any

import fastapi
import litestar
import pytest
from sites import AsgiSite, Browser, WsgiSite
from starlette.requests import HTTPConnection
from starlette.responses import JSONResponse

from limpet.core.session_state import Moved
from limpet.sessions import Session, Sessions, StoreUnavailableError
from limpet.sessions.balancer import Told

PAGES = Path(__file__).parents[3] / "docs/sessions"
SECRET = "a secret for tests that is long enough"


@pytest.fixture
def names(monkeypatch: pytest.MonkeyPatch) -> dict[str, Any]:
    """What the pages' code finds."""
    monkeypatch.setenv("LIMPET_SESSION_STORE", "memory://")
    monkeypatch.setenv("LIMPET_SECRET", SECRET)
    page = ModuleType("page")
    monkeypatch.setitem(sys.modules, "page", page)
    names = {
        "Annotated": Annotated,
        "Depends": fastapi.Depends,
        "HTTPConnection": HTTPConnection,
        "JSONResponse": JSONResponse,
        "Request": fastapi.Request,
        "SECRET": SECRET,
        "Session": Session,
        "Sessions": Sessions,
        "StoreUnavailableError": StoreUnavailableError,
        "WebSocket": fastapi.WebSocket,
        "NEW_SECRET": SECRET,
        "OLD_SECRET": SECRET[::-1],
    }
    vars(page).update(names)
    return vars(page)


def run(page: str, names: dict[str, Any]) -> None:
    for block in re.findall(r"```python\n(.*?)```", (PAGES / page).read_text(), re.DOTALL):
        code = re.sub(r"(sqlite|valkey)://[^\"]*", "memory://", block)
        exec(compile(code, page, "exec"), names)


def test_the_index(names: dict[str, Any]) -> None:
    run("README.md", names)
    assert names["sessions"].policy.idle_s == 3600


def test_what_the_index_says_of_the_balancer(
    names: dict[str, Any], capsys: pytest.CaptureFixture[str]
) -> None:
    run("README.md", names)
    session, uploads = names["moving"].open(None, told=Told(moved=Moved("B", "overload"))), {}
    names["moving"].balancer.tell_moved(session)
    assert capsys.readouterr().out == "a session came from B: overload\n"
    for function, word in (("begin_upload", "upload"), ("end_upload", "")):
        names[function](session, uploads)
        assert session.standing.pin == word


def test_the_near_cache(names: dict[str, Any]) -> None:
    run("near-cache.md", names)
    assert names["small"].policy == names["sessions"].policy


def test_asgi(names: dict[str, Any]) -> None:
    run("asgi.md", names)
    with AsgiSite(names["app"], names["sessions"].aclose) as site:
        laptop, phone = Browser(site), Browser(site)
        for browser in (laptop, phone):
            assert browser.request("POST", "/login").status == 200
            assert browser.get("/me").json() == {"user": "ann"}
        assert phone.get("/cart").json() == []
        phone.request("POST", "/log-out-everywhere")
        assert laptop.get("/me").json() == {"user": None}
        laptop.request("POST", "/login")
        laptop.request("POST", "/logout")
        assert laptop.get("/me").json() == {"user": None}


def test_litestar(names: dict[str, Any]) -> None:
    names.update(Request=litestar.Request, Response=litestar.Response)
    run("litestar.md", names)
    with AsgiSite(names["app"]) as site:
        assert Browser(site).get("/").status == 200


def test_wsgi(names: dict[str, Any]) -> None:
    run("wsgi.md", names)
    browser = Browser(WsgiSite(names["app"]))
    assert [browser.get("/").body for _ in range(2)] == [b"visit 1", b"visit 2"]

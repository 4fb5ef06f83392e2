"""Ways to log in: forms with hidden fields, JSON, and sessions that are brought along."""

from __future__ import annotations

import asyncio
import json
import time
from typing import TYPE_CHECKING

import pytest
from ailing_site import LOGIN_FORM, Answer, Members, Request, SmallSite

from limpet.doctor.probe.client import Client
from limpet.doctor.probe.digest import Digest
from limpet.doctor.probe.login import brought
from limpet.doctor.probe.login.form import FormLogin
from limpet.doctor.probe.login.json_body import JsonLogin
from limpet.doctor.probe.login.way import Attempt, LoginError, LoginWay
from limpet.doctor.probe.observe import Observer
from limpet.doctor.probe.safety import Scope
from limpet.doctor.probe.visitor import Visitor

if TYPE_CHECKING:
    from pathlib import Path

    from limpet.doctor.cookie_jar import StoredCookie


def visitor_of(site: SmallSite) -> Visitor:
    return Visitor(Client(Scope(site.url)), Observer(Digest(), started_s=time.monotonic()))


def log_in(site: SmallSite, way: LoginWay) -> tuple[Attempt, Visitor]:
    visitor = visitor_of(site)
    return asyncio.run(way.log_in(visitor, site.url)), visitor


def test_a_form_is_filled_in_with_its_hidden_fields(site: SmallSite) -> None:
    site.answer = Members()
    attempt, visitor = log_in(site, FormLogin(f"{site.url}login", "ann", "correct-horse"))
    assert attempt.is_accepted
    assert [each.name for each in visitor.jar] == ["sid"]
    posted = next(each for each in site.asked if each.method == "POST")
    assert posted.form == {"token": "t1", "username": "ann", "password": "correct-horse"}
    assert posted.headers["referer"] == f"{site.url}login"


def test_a_wrong_password_is_seen(site: SmallSite) -> None:
    site.answer = Members()
    attempt, _ = log_in(site, FormLogin(f"{site.url}login", "ann", "wrong"))
    assert not attempt.is_accepted


def test_a_redirect_back_to_the_form_is_a_refusal(site: SmallSite) -> None:
    def answer(request: Request) -> Answer:
        back = Answer(status=302, headers=[("location", "/login")])
        return back if request.method == "POST" else Answer(LOGIN_FORM)

    site.answer = answer
    assert not log_in(site, FormLogin(f"{site.url}login", "ann", "x"))[0].is_accepted


def test_named_and_further_fields(site: SmallSite) -> None:
    site.answer = lambda request: Answer(
        "<form method=post><input name=a><input name=b><select name=c></select><button>Log in</button></form>"
        if request.method == "GET"
        else "welcome"
    )
    way = FormLogin(site.url, "ann", "pw", username_field="b", password_field="a", extra={"c": "de"})
    assert log_in(site, way)[0].is_accepted
    assert site.asked[-1].form == {"a": "pw", "b": "ann", "c": "de"}


@pytest.mark.parametrize("page", ["nothing", "<form method=get><input type=password name=p></form>"])
def test_a_page_without_a_usable_form_is_told(site: SmallSite, page: str) -> None:
    site.answer = lambda _request: Answer(page)
    with pytest.raises(LoginError, match="--form"):
        log_in(site, FormLogin(site.url, "ann", "pw"))


def test_json(site: SmallSite) -> None:
    site.answer = lambda _request: Answer("{}", headers=[("set-cookie", "token=abc; Path=/")])
    way = JsonLogin(f"{site.url}api/login", "ann", "pw", username_field="email")
    attempt, visitor = log_in(site, way)
    assert attempt.is_accepted
    assert [each.name for each in visitor.jar] == ["token"]
    assert site.asked[-1].headers["content-type"] == "application/json"


def values(cookies: tuple[StoredCookie, ...]) -> dict[str, str]:
    return {each.name: each.value for each in cookies}


def test_a_cookie_header() -> None:
    assert values(brought.from_header("a=1; b=x=y", "h")) == {"a": "1", "b": "x=y"}
    with pytest.raises(LoginError, match="name=value"):
        brought.from_header("nothing", "h")


def test_a_cookie_file(tmp_path: Path) -> None:
    file = tmp_path / "cookies.txt"
    file.write_text(
        "# Netscape HTTP Cookie File\n"
        "#HttpOnly_.example.com\tTRUE\t/\tTRUE\t1999999999\tsid\tabc\n"
        "www.example.com\tFALSE\t/app\tFALSE\t0\tother\tdef\n"
    )
    first, second = brought.from_cookie_file(file)
    assert (first.name, first.domain, first.is_host_only, first.is_secure) == (
        "sid",
        "example.com",
        False,
        True,
    )
    assert (second.path, second.is_host_only, second.ends_s) == ("/app", True, None)
    file.write_text("sid=abc\n")
    with pytest.raises(LoginError, match="no cookies"):
        brought.from_cookie_file(file)


def test_playwrights_storage_state(tmp_path: Path) -> None:
    file = tmp_path / "state.json"
    cookie = {
        "name": "sid",
        "value": "abc",
        "domain": ".example.com",
        "path": "/",
        "expires": -1,
        "secure": True,
    }
    file.write_text(json.dumps({"cookies": [cookie], "origins": []}))
    (found,) = brought.from_storage_state(file)
    assert (found.value, found.domain, found.is_host_only, found.ends_s) == (
        "abc",
        "example.com",
        False,
        None,
    )
    file.write_text('{"cookies": []}')
    with pytest.raises(LoginError, match="no cookies"):
        brought.from_storage_state(file)


@pytest.mark.parametrize("flag", ["-H 'Cookie: a=1; b=2'", "-b 'a=1; b=2'", "--header 'cookie: a=1; b=2'"])
def test_curl(flag: str) -> None:
    text = f"curl 'https://example.com/' \\\n  -H 'Accept: */*' \\\n  {flag} \\\n  --compressed"
    assert values(brought.from_curl(text, "example.com")) == {"a": "1", "b": "2"}


@pytest.mark.parametrize("text", ["curl https://example.com/", "curl 'unclosed"])
def test_curl_without_cookies(text: str) -> None:
    with pytest.raises(LoginError, match="copy"):
        brought.from_curl(text, "example.com")


def har(url: str, cookie: str | None) -> str:
    headers = [{"name": "Cookie", "value": cookie}] if cookie else []
    return json.dumps({"log": {"entries": [{"request": {"url": url, "headers": headers, "cookies": []}}]}})


def test_a_har_and_a_sanitised_one(tmp_path: Path) -> None:
    file = tmp_path / "site.har"
    file.write_text(har("https://example.com/account", "sid=abc"))
    assert values(brought.from_har(file, "example.com")) == {"sid": "abc"}
    with pytest.raises(LoginError, match="no request to other"):
        brought.from_har(file, "other.example")
    file.write_text(har("https://example.com/account", None))
    with pytest.raises(LoginError, match="sensitive data"):
        brought.from_har(file, "example.com")


def test_brought_cookies_of_another_host_are_told(site: SmallSite) -> None:
    way = brought.BroughtCookies(brought.from_header("sid=1", "example.com"), "cookies")
    with pytest.raises(LoginError, match="none of the cookies belongs to 127"):
        log_in(site, way)

"""How to log in: as told, or by trying what a person would.

A *way* is one manner of logging in that can be repeated with any browser. Found by itself: a form on
the front page or on the pages where frameworks put it, and, for apps without pages, a POST of the
usual fields. One failed login of a way ends it: nothing is guessed twice.
"""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any
from urllib.parse import urljoin, urlsplit

if TYPE_CHECKING:
    from collections.abc import Collection, Iterator, Mapping

    from limpet.doctor.rehearsal.site import Answer, Browser

#: Where frameworks and people put their login pages.
LOGIN_PATHS = (
    "/",
    "/login",
    "/login/",
    "/accounts/login/",
    "/auth/login",
    "/signin",
    "/admin/login/",
    "/users/login",
    "/session/new",
)
_POST_PATHS = ("/login", "/login/", "/auth/login", "/api/login", "/signin", "/token", "/session")
_TOKEN_KEYS = ("access_token", "token", "jwt", "id_token")


@dataclass(frozen=True, slots=True)
class Credentials:
    """Who logs in.

    Attributes:
        user: "limpet-check" if the caller named nobody: many an example takes any name.
        fields: further fields of the form, or other values for them.
    """

    user: str = "limpet-check"
    password: str = "limpet-check"  # noqa: S105  # nobody's: it stands for whatever was not given
    fields: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Way:
    """One manner of logging in.

    Attributes:
        kind: "form", "post" or "json".
        path: of the page with the form, or of what takes the fields.
    """

    kind: str
    path: str
    credentials: Credentials

    def __str__(self) -> str:
        """Return it for a person."""
        return {"form": f"the form on {self.path}", "post": f"POST {self.path}"}.get(
            self.kind, f"POST {self.path} as JSON"
        )

    async def enter(self, browser: Browser, refused: Collection[str] = ()) -> list[Answer]:
        """Log in; return every answer on the way, none if there is no such form.

        The second answer is the one to the credentials.

        Args:
            refused: paths that have refused them already, and are not asked again.
        """
        if self.kind == "form":
            return await self._by_form(browser, refused)
        if self.kind == "post" and self.path in refused:
            return []
        data = self._usual_fields()
        if self.kind == "json":
            answer = await browser.ask("POST", self.path, body=data)
        else:
            answer = await browser.ask("POST", self.path, data=data)
        _take_token(browser, answer)
        return [answer, answer, *await browser.follow(answer, self.path)]

    async def _by_form(self, browser: Browser, refused: Collection[str]) -> list[Answer]:
        pages = await browser.open(self.path)
        form = pages[-1].page.login_form
        if form is None:
            return []
        at = pages[-1].visit.path
        target = urlsplit(urljoin(at, form.action or at))
        path = (target.path or "/") + (f"?{target.query}" if target.query else "")
        if target.path in refused:
            return []
        who = self.credentials
        answer = await browser.ask("POST", path, data=form.filled(who.user, who.password, dict(who.fields)))
        _take_token(browser, answer)
        return [pages[-1], answer, *await browser.follow(answer, path)]

    def _usual_fields(self) -> dict[str, Any]:
        who = self.credentials
        if who.fields:
            return dict(who.fields)
        names = ("username", "user", "name", "email", "login")
        return {**dict.fromkeys(names, who.user), "password": who.password}


def ways(credentials: Credentials, path: str = "") -> Iterator[Way]:
    """Give the ways to try, the likeliest first.

    Args:
        path: the only one to try, if it is known.
    """
    for each in (path,) if path else LOGIN_PATHS:
        yield Way("form", each, credentials)
    for each in (path,) if path else _POST_PATHS:
        yield Way("post", each, credentials)
        yield Way("json", each, credentials)


def _take_token(browser: Browser, answer: Answer) -> None:
    # Without cookies, a client of an API keeps the token that it was given.
    if answer.visit.status >= 300 or not answer.visit.page.json_shape:
        return
    body = json.loads(answer.text)
    for key in _TOKEN_KEYS:
        if isinstance(body, dict) and isinstance(body.get(key), str):
            browser.headers["authorization"] = f"Bearer {body[key]}"
            return

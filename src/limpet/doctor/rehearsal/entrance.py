"""How to log in: as told, or by trying what a person would.

A *way* is one manner of logging in that can be repeated with any browser. Found by itself: a form on
the front page or on the pages where frameworks put it, and, for apps without pages, a POST of the
usual fields. One failed login of a way ends it: nothing is guessed twice.
"""

from __future__ import annotations

import json
import re
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any
from urllib.parse import urljoin

from limpet.doctor.probe.page import read_document
from limpet.doctor.rehearsal.site import path_of

if TYPE_CHECKING:
    from collections.abc import Collection, Iterator, Mapping, Sequence

    from limpet.doctor.probe.page import Form
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
_LOGIN = re.compile(r"log[\s_-]?in|sign[\s_-]?in|session|auth", re.IGNORECASE)
_USER = re.compile(r"user|name|mail|login|account", re.IGNORECASE)
_TYPED = frozenset({"", "text", "email", "tel", "search"})
_UNSENT = frozenset({"submit", "button", "reset", "image", "file"})
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
        return [answer, answer, *await browser.follow(answer)]

    async def _by_form(self, browser: Browser, refused: Collection[str]) -> list[Answer]:
        page = (await browser.open(self.path))[-1]
        form = _login_form(read_document(page.reply).forms)
        if form is None:
            return []
        path = path_of(urljoin(page.reply.url, form.action or page.reply.url))
        if path.partition("?")[0] in refused:
            return []
        answer = await browser.ask("POST", path, data=self._filled(form))
        _take_token(browser, answer)
        return [page, answer, *await browser.follow(answer)]

    def _filled(self, form: Form) -> dict[str, str]:
        # What a person leaves alone goes along as it is; `fields` come before guesses.
        who = self.credentials
        data = {each.name: each.value for each in form.fields if each.name and each.kind not in _UNSENT}
        user, password = _user_field(form), _password_field(form)
        if user:
            data[user] = who.user
        if password:
            data[password] = who.password
        return {**data, **who.fields}

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


def _login_form(forms: Sequence[Form]) -> Form | None:
    # One password is asked for; or it says that it logs in, and asks for a name.
    posts = [form for form in forms if form.method == "post"]
    asking = [form for form in posts if sum(each.kind == "password" for each in form.fields) == 1]
    named = [form for form in posts if not form.has_password and _user_field(form)]
    telling = [form for form in named if _LOGIN.search(f"{form.action} {form.text}")]
    return next(iter((*asking, *telling)), None)


def _user_field(form: Form) -> str:
    typed = [each.name for each in form.fields if each.kind in _TYPED and each.name]
    return next(iter([name for name in typed if _USER.search(name)] or typed), "")


def _password_field(form: Form) -> str:
    return next((each.name for each in form.fields if each.kind == "password"), "")


def _take_token(browser: Browser, answer: Answer) -> None:
    # Without cookies, a client of an API keeps the token that it was given.
    if answer.visit.status >= 300 or not answer.visit.page.json_shape:
        return
    body = json.loads(answer.reply.body)
    for key in _TOKEN_KEYS:
        if isinstance(body, dict) and isinstance(body.get(key), str):
            browser.headers["authorization"] = f"Bearer {body[key]}"
            return

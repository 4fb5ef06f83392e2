"""What an HTML page holds that matters here: its forms, its title, its text."""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from html.parser import HTMLParser

_LOGOUT = re.compile(r"\b(log|sign)[ _-]?(out|off)\b", re.IGNORECASE)
_LOGIN = re.compile(r"log-?_?in|sign-?_?in|auth|session", re.IGNORECASE)
_USER = re.compile(r"user|login|e-?mail|name|account|handle", re.IGNORECASE)
#: Types of inputs that a person types a name into.
_TYPED = frozenset({"", "text", "email", "tel", "search"})
_UNSENT = frozenset({"submit", "button", "reset", "image", "file"})


@dataclass(slots=True)
class Form:
    """A form.

    Attributes:
        fields: name, type and value of each input, in order.
    """

    action: str
    method: str
    fields: list[tuple[str, str, str]] = field(default_factory=list)

    @property
    def password(self) -> str:
        """Name of the field for the password; "" if there is none."""
        return next((name for name, kind, _ in self.fields if kind == "password"), "")

    @property
    def user(self) -> str:
        """Name of the field for the user; "" if there is none."""
        typed = [name for name, kind, _ in self.fields if kind in _TYPED]
        return next((name for name in typed if _USER.search(name)), typed[0] if typed else "")

    @property
    def is_login(self) -> bool:
        """Whether it logs in: it asks for a password, or says so and asks for a name."""
        if self.method != "post":
            return False
        passwords = [name for name, kind, _ in self.fields if kind == "password"]
        if passwords:
            return len(passwords) == 1
        return bool(self.user and _LOGIN.search(self.action))

    def filled(self, user: str, password: str, given: dict[str, str]) -> dict[str, str]:
        """Return what a browser sends once a person has filled it in; `given` comes before guesses."""
        data = {
            name: value
            for name, kind, value in self.fields
            if kind not in _UNSENT and kind not in {"checkbox", "radio"}
        }
        if self.user and user:
            data[self.user] = user
        if self.password and password:
            data[self.password] = password
        return {**data, **given}


@dataclass(slots=True)
class Page:
    """A page as far as it was read."""

    forms: list[Form] = field(default_factory=list)
    title: str = ""
    text: str = ""
    logout_links: list[str] = field(default_factory=list)

    @property
    def login_form(self) -> Form | None:
        """The form that logs in; None if there is none."""
        return next((form for form in self.forms if form.is_login), None)

    @property
    def has_password_field(self) -> bool:
        """Whether a password is asked for."""
        return any(form.password for form in self.forms)

    @property
    def has_logout_word(self) -> bool:
        """Whether it offers to log out."""
        offered = any(_LOGOUT.search(form.action) for form in self.forms)
        return bool(offered or self.logout_links or _LOGOUT.search(self.text))


def read_page(html: str) -> Page:
    """Read a page; what is no HTML has neither forms nor title."""
    reader = _Reader()
    reader.feed(html)
    reader.close()
    reader.page.text = " ".join(" ".join(reader.words).split())
    return reader.page


class _Reader(HTMLParser):
    def __init__(self) -> None:
        super().__init__()
        self.page = Page()
        self.words: list[str] = []
        self._form: Form | None = None
        self._within = ""

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        given = {name: value or "" for name, value in attrs}
        if tag == "form":
            self._form = Form(given.get("action", ""), given.get("method", "get").lower())
            self.page.forms.append(self._form)
        elif (
            tag in {"input", "select", "textarea", "button"} and self._form is not None and given.get("name")
        ):
            kind = given.get("type", "").lower() if tag == "input" else tag
            self._form.fields.append((given["name"], kind, given.get("value", "")))
        elif tag == "a" and _LOGOUT.search(given.get("href", "")):
            self.page.logout_links.append(given["href"])
        if tag in {"title", "script", "style"}:
            self._within = tag

    def handle_endtag(self, tag: str) -> None:
        if tag == "form":
            self._form = None
        if tag == self._within:
            self._within = ""

    def handle_data(self, data: str) -> None:
        if self._within == "title":
            self.page.title += data.strip()
        elif not self._within:
            self.words.append(data)

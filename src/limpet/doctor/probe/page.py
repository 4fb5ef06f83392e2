"""What a page shows, read once; the body itself is not kept."""

from __future__ import annotations

import json
import re
from dataclasses import dataclass, field
from html.parser import HTMLParser
from typing import TYPE_CHECKING, Any
from urllib.parse import urljoin, urlsplit

from limpet.doctor.evidence import PageFact

if TYPE_CHECKING:
    from collections.abc import Callable

    from limpet.doctor.probe.client import Reply

_LOGOUT = re.compile(
    r"\b(log[\s_-]?(out|off)|sign[\s_-]?(out|off)|abmelden|se d[ée]connecter|d[ée]connexion|cerrar sesi[óo]n"
    r"|uitloggen|esci|wyloguj|logga ut|log ud|kirjaudu ulos|sair)\b",
    re.IGNORECASE,
)
#: "You are logged out" is not a way to log out.
_LOGGED_OUT = re.compile(r"\b(logged|signed)[\s_-]+(out|off)\b", re.IGNORECASE)
_LOGOUT_PATH = re.compile(r"log[-_]?(out|off)|sign[-_]?(out|off)", re.IGNORECASE)
_CSRF = re.compile(
    r"csrf|xsrf|mismatching[_ ]state|forg(ed|ery)|token (mismatch|expired|invalid)|page expired",
    re.IGNORECASE,
)
_WORD = re.compile(r"[^\W\d_]{2,24}")
_MAX_WORDS = 400
_MAX_LINKS = 40


@dataclass(slots=True)
class Field:
    """An input of a form."""

    name: str
    kind: str
    value: str


@dataclass(slots=True)
class Form:
    """A form as it stands in a page."""

    action: str
    method: str
    fields: list[Field] = field(default_factory=list)
    text: str = ""

    @property
    def has_password(self) -> bool:
        """Whether it asks for a password."""
        return any(each.kind == "password" for each in self.fields)


class Document(HTMLParser):
    """Reads of an HTML page what the doctor needs."""

    def __init__(self) -> None:
        super().__init__(convert_charrefs=True)
        self.forms: list[Form] = []
        self.links: list[tuple[str, str]] = []  # path and text
        self.assets: list[str] = []
        self.frames: list[str] = []
        self.title = ""
        self.text: list[str] = []
        self._form: Form | None = None
        self._hidden: str | None = None
        self._is_title = False

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        """Note forms, their inputs, links and assets."""
        found = {name: value or "" for name, value in attrs}
        if tag == "form":
            self._form = Form(found.get("action", ""), (found.get("method") or "get").lower())
            self.forms.append(self._form)
        elif tag in {"input", "button"} and self._form is not None:
            kind = found.get("type", "text" if tag == "input" else "submit").lower()
            is_unchecked = kind in {"checkbox", "radio"} and "checked" not in found
            if not is_unchecked:
                self._form.fields.append(Field(found.get("name", ""), kind, found.get("value", "")))
            self._form.text += " " + found.get("value", "")
        elif tag == "a" and found.get("href"):
            self.links.append((found["href"], found.get("title", "")))
        elif tag in {"script", "style"}:
            self._hidden = tag
        elif tag == "title":
            self._is_title = True
        asset = found.get("src") if tag == "script" else found.get("href") if tag == "link" else None
        if asset:
            self.assets.append(asset)

    def handle_endtag(self, tag: str) -> None:
        """End what had begun."""
        if tag == "form":
            self._form = None
        elif tag == self._hidden:
            self._hidden = None
        elif tag == "title":
            self._is_title = False

    def handle_data(self, data: str) -> None:
        """Note the text that a reader sees."""
        if self._hidden is not None:
            return
        if self._is_title:
            self.title += data
            return
        self.text.append(data)
        if self._form is not None:
            self._form.text += data


def read_document(reply: Reply) -> Document:
    """Parse a page; an empty document if it is no HTML."""
    document = Document()
    if "html" in reply.header("content-type"):
        document.feed(body_text(reply))
        document.close()
    return document


def body_text(reply: Reply) -> str:
    """Return the body as text."""
    match = re.search(r"charset=[\"']?([\w-]+)", reply.header("content-type"))
    try:
        return reply.body.decode(match[1] if match else "utf-8", "replace")
    except LookupError:
        return reply.body.decode("utf-8", "replace")


def read_page(
    reply: Reply,
    digest: Callable[[str], str],
    *,
    username: str = "",
    mark: Callable[[Reply], bool] | None = None,
) -> PageFact:
    """Return what a page shows.

    Args:
        digest: a salted hash.
        username: the name that logs in; "" if none is known.
        mark: the caller's own test of being logged in.
    """
    text = body_text(reply)
    document = read_document(reply)
    visible = " ".join(document.text) if document.text else text
    links = [path for path, _ in document.links if _LOGOUT_PATH.search(urlsplit(path).path)]
    forms = [form for form in document.forms if _LOGOUT_PATH.search(form.action)]
    has_word = _LOGOUT.search(_LOGGED_OUT.sub("", visible)) is not None
    framing = reply.header("x-frame-options") + reply.header("content-security-policy")
    return PageFact(
        content_type=reply.header("content-type").split(";")[0].strip().lower(),
        has_password_field=any(form.has_password for form in document.forms),
        has_logout_word=bool(has_word or links or forms),
        title=digest(document.title.strip()),
        json_shape=digest(_shape(reply)),
        names_user=_names(visible, username) if username else None,
        words=frozenset(digest(word.lower()) for word in _WORD.findall(visible)[:_MAX_WORDS]),
        logout_links=tuple(urlsplit(urljoin(reply.url, path)).path for path in links[:3]),
        has_logout_form=bool(forms),
        version=digest(" ".join(sorted(_versioned(document.assets)))),
        is_marked=mark(reply) if mark else None,
        says_csrf=_CSRF.search(visible) is not None or _CSRF.search(document.title) is not None,
        has_form_post="SAMLRequest" in text or "response_mode=form_post" in text,
        has_service_worker="serviceWorker.register" in text,
        has_socket_io="socket.io" in text,
        may_be_framed=not re.search(r"deny|sameorigin|frame-ancestors", framing, re.IGNORECASE),
    )


def linked_paths(reply: Reply) -> list[str]:
    """Return the URLs of the same site that a page links to, in order."""
    found = [urljoin(reply.url, path).split("#")[0] for path, _ in read_document(reply).links[:_MAX_LINKS]]
    home = urlsplit(reply.url)
    same = [url for url in found if urlsplit(url)[:2] == home[:2] and urlsplit(url).path != home.path]
    return list(dict.fromkeys(same))


def _names(text: str, username: str) -> bool:
    # Of an address of mail, pages often show the part before the @.
    wanted = {username.lower(), username.split("@", maxsplit=1)[0].lower()}
    return any(re.search(rf"(?<!\w){re.escape(name)}(?!\w)", text.lower()) for name in wanted if name)


def _versioned(assets: list[str]) -> list[str]:
    # Names with a hash or version in them; others say nothing about the release.
    return [each for each in assets if re.search(r"[0-9a-f]{6,}|[?&.-]v?=?\d+(\.\d+)*\b", each)]


def _shape(reply: Reply) -> str:
    if "json" not in reply.header("content-type"):
        return ""
    try:
        value = json.loads(reply.body)
    except ValueError:
        return ""
    return _describe(value, 0)


def _describe(value: Any, depth: int) -> str:
    if isinstance(value, dict) and depth < 3:
        return "{" + ",".join(f"{key}:{_describe(value[key], depth + 1)}" for key in sorted(value)) + "}"
    # True and False are different answers to "is he in?".
    return str(value) if isinstance(value, bool) or value is None else type(value).__name__

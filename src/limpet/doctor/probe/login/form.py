"""Login by a form of the site: its hidden fields (CSRF tokens) are sent along, as a browser does."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import TYPE_CHECKING
from urllib.parse import urlencode, urljoin

from limpet.doctor.probe.login.submit import submit
from limpet.doctor.probe.login.way import LoginError
from limpet.doctor.probe.page import read_document

if TYPE_CHECKING:
    from collections.abc import Mapping

    from limpet.doctor.probe.login.way import Attempt
    from limpet.doctor.probe.page import Document, Form
    from limpet.doctor.probe.visitor import Visitor

_LOGIN = re.compile(r"log[\s_-]?in|sign[\s_-]?in|anmelden|session|auth", re.IGNORECASE)
_USER_FIELD = re.compile(r"user|name|mail|login|account", re.IGNORECASE)
_TYPED = frozenset({"text", "email", "tel", "search", ""})


@dataclass(frozen=True)
class FormLogin:
    """Fills in the site's own form.

    Attributes:
        url: the page with the form.
        username_field, password_field: names of the inputs; found if empty.
        extra: further inputs by name.
    """

    url: str
    username: str
    password: str = ""
    username_field: str = ""
    password_field: str = ""
    extra: Mapping[str, str] | None = None
    name: str = "form"
    is_repeatable: bool = True

    async def log_in(self, visitor: Visitor, page_url: str) -> Attempt:
        """Fetch the form, fill it in and send it."""
        reply, before = await visitor.go(self.url)
        if reply.status >= 400 or not reply.status:
            what = f"answered {reply.status}" if reply.status else f"did not answer ({reply.failure})"
            raise LoginError(f"--form {self.url}: the page {what}; name the page with the login form")
        form = self._form(read_document(reply))
        if form.method != "post":
            raise LoginError(f"--form {self.url}: the form is sent by GET; such logins are not tried")
        fields = [(each.name, each.value) for each in form.fields if each.name and each.kind != "submit"]
        filled = dict(fields) | self._filled(form) | dict(self.extra or {})
        return await submit(
            visitor,
            urljoin(reply.url, form.action) if form.action else reply.url,
            urlencode(filled).encode(),
            "application/x-www-form-urlencoded",
            page_url=page_url,
            before=before,
            form_url=reply.url,
            # Django and others check where a form on https comes from.
            headers=(
                ("referer", reply.url),
                ("origin", reply.url.split("/", 3)[0] + "//" + reply.url.split("/")[2]),
            ),
        )

    def _form(self, document: Document) -> Form:
        with_password = [form for form in document.forms if form.has_password]
        named = [form for form in document.forms if _LOGIN.search(f"{form.action} {form.text}")]
        for forms in (with_password, named):
            if forms:
                return forms[0]
        raise LoginError(
            f"--form {self.url}: the page has no login form; if a script makes it, use --login-json"
        )

    def _filled(self, form: Form) -> dict[str, str]:
        user_field = self.username_field or self._user_field(form)
        filled = {user_field: self.username} if user_field else {}
        password_field = self.password_field or next(
            (each.name for each in form.fields if each.kind == "password"), ""
        )
        if password_field and self.password:
            filled[password_field] = self.password
        return filled

    def _user_field(self, form: Form) -> str:
        typed = [each.name for each in form.fields if each.kind in _TYPED and each.name]
        likely = [name for name in typed if _USER_FIELD.search(name)]
        return next(iter(likely or typed), "")

"""Login by a JSON body, as pages made by scripts do it. The session has to be in a cookie."""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import TYPE_CHECKING

from limpet.doctor.probe.login.submit import submit

if TYPE_CHECKING:
    from collections.abc import Mapping

    from limpet.doctor.probe.login.way import Attempt
    from limpet.doctor.probe.visitor import Visitor


@dataclass(frozen=True)
class JsonLogin:
    """Posts the credentials as JSON."""

    url: str
    username: str
    password: str = ""
    username_field: str = ""
    password_field: str = ""
    extra: Mapping[str, str] | None = None
    name: str = "JSON"
    is_repeatable: bool = True

    async def log_in(self, visitor: Visitor, page_url: str) -> Attempt:
        """Send the credentials."""
        body: dict[str, str] = {self.username_field or "username": self.username}
        if self.password:
            body[self.password_field or "password"] = self.password
        body |= dict(self.extra or {})
        return await submit(
            visitor, self.url, json.dumps(body).encode(), "application/json", page_url=page_url
        )

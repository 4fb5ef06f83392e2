"""An answer that sends the client elsewhere.

Parts of the new address may hold placeholders for the same parts of the old one: `#{protocol}`,
`#{host}`, `#{port}`, `#{path}` (without its first slash) and `#{query}` (without its question mark).
Source: ALB's redirect action.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import TYPE_CHECKING

from limpet.core.rules.verdict import Reply, Verdict
from limpet.errors import ErrorKind

if TYPE_CHECKING:
    from limpet.core.request import RequestHead
    from limpet.core.rules.rule import Rule, Surroundings

PLACEHOLDER = re.compile(r"#\{([a-z]*)\}")
PLACEHOLDERS = frozenset({"protocol", "host", "port", "path", "query"})
_USUAL_PORTS = {"http": "80", "https": "443"}
_HOST_AND_PORT = re.compile(r"(\[[^\]]*\]|[^:]*)(?::([0-9]*))?")


@dataclass(frozen=True, slots=True, kw_only=True)
class Redirect:
    """Sends clients elsewhere.

    Attributes:
        protocol: "http", "https" or "#{protocol}".
        port: "" for the usual one of the protocol.
        path: with its first slash.
    """

    status: int = 302
    protocol: str = "#{protocol}"
    host: str = "#{host}"
    port: str = "#{port}"
    path: str = "/#{path}"
    query: str = "#{query}"

    @property
    def kind(self) -> str:
        """The name in the configuration."""
        return "redirect"

    @property
    def only_group(self) -> str:
        """No group gets anything."""
        return ""

    def act(self, rule: Rule, request: RequestHead, around: Surroundings) -> Verdict:
        """Return the redirection."""
        del around
        location = self.location(request)
        if location is None:
            detail = "a request without Host cannot be redirected"
            return Verdict(rule=rule.name, error=ErrorKind.BAD_REQUEST, detail=detail)
        reply = Reply(status=self.status, fields=((b"Location", location.encode("latin-1")),))
        return Verdict(rule=rule.name, reply=reply, response_edits=rule.response_edits)

    def location(self, request: RequestHead) -> str | None:
        """Return where a request is sent; None if that needs a Host that it does not have."""
        old = _parts(request)
        host = _filled(self.host, old)
        protocol = _filled(self.protocol, old)
        port = _filled(self.port, old) or _USUAL_PORTS[protocol]
        if not host:
            return None
        place = host if port == _USUAL_PORTS[protocol] else f"{host}:{port}"
        query = _filled(self.query, old)
        return f"{protocol}://{place}{_filled(self.path, old)}" + (f"?{query}" if query else "")


def _parts(request: RequestHead) -> dict[str, str]:
    found = _HOST_AND_PORT.match(request.fields.host.decode("latin-1"))
    host, port = found.groups() if found is not None else ("", None)
    path, _, query = request.path.decode("latin-1").partition("?")
    protocol = "https" if request.is_https else "http"
    return {
        "protocol": protocol,
        "host": host,
        "port": port or _USUAL_PORTS[protocol],
        "path": path.removeprefix("/"),
        "query": query,
    }


def _filled(text: str, parts: dict[str, str]) -> str:
    return PLACEHOLDER.sub(lambda found: parts[found[1]], text)

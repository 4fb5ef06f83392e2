"""Those who make requests: somebody without a session, visitors and a user."""

from __future__ import annotations

import itertools
import threading
from importlib import import_module
from typing import TYPE_CHECKING

from session_lab.site import Browser
from session_lab.views import KINDS, Kind

if TYPE_CHECKING:
    from session_lab.site import Answer, Site

#: Frameworks, and the modules that have their sites.
FRAMEWORKS = {
    "Django": "session_lab.on_django",
    "Flask": "session_lab.on_flask",
    "Starlette": "session_lab.on_starlette",
    "Litestar": "session_lab.on_litestar",
}
_WARM_UP = 5


class Visitors:
    """Visitors of one site, who were there before: connections are open, scripts are loaded."""

    def __init__(self, site: Site, first_user: int) -> None:
        self._site = site
        self._users = itertools.count(first_user)
        self._user = Browser(site)
        self._user.get("/login", self._next_user())
        for kind in [*KINDS.values()] * _WARM_UP:
            self.get(kind, self.ready(kind))

    def ready(self, kind: Kind) -> Browser:
        """Return who makes the next request of a kind."""
        if kind.who == "user":
            return self._user
        browser = Browser(self._site)
        if kind.who == "visitor":
            browser.get("/visit")
        return browser

    def get(self, kind: Kind, browser: Browser) -> Answer:
        """Make a request."""
        return browser.get(kind.path, self._next_user() if kind.path == "/login" else "")

    def _next_user(self) -> str:
        return f"user={next(self._users)}"


def visitors(framework: str, port: int) -> tuple[dict[str, Site], dict[str, Visitors]]:
    """Return all sites of a framework and their visitors, by the name of who keeps the sessions."""
    sites: dict[str, Site] = import_module(FRAMEWORKS[framework]).sites(port)
    found = {name: Visitors(site, 1_000_000 * at + 1) for at, (name, site) in enumerate(sites.items())}
    for thread in threading.enumerate():
        if thread.name == "limpet-check":  # it looks at the server once, and should not be counted
            thread.join()
    return sites, found

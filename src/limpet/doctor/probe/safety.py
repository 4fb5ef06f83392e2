"""What the doctor must not do, whatever a site answers.

It speaks to the one origin it was given, and to hosts that were allowed by name. After a login it
reads and does not write, and never a path that ends or deletes something. It keeps to its budget and
pace, and stops when the site asks for it. None of this can be switched off, except that a site on
this machine needs no pace.
"""

from __future__ import annotations

import re
from collections import deque
from dataclasses import dataclass
from email.utils import parsedate_to_datetime
from typing import TYPE_CHECKING, NamedTuple
from urllib.parse import unquote, urlsplit

from limpet.doctor.cookie_jar import is_loopback

if TYPE_CHECKING:
    from collections.abc import Collection

MAX_REQUESTS = 300
MAX_LOGINS = 4
_DEFAULT_PORTS = {"http": 80, "https": 443}
_FORBIDDEN = re.compile(
    r"log[-_]?(out|off)|sign[-_]?(out|off)|delete|remove|unsubscribe|destroy|revoke|deactivate", re.IGNORECASE
)


class StoppedError(Exception):
    """The run has to end here; its text says why."""


class ForbiddenError(Exception):
    """A request that would break a rule and was not sent."""


class Origin(NamedTuple):
    """A scheme, host and port."""

    scheme: str
    host: str
    port: int


def origin_of(url: str) -> Origin:
    """Return a URL's origin."""
    parts = urlsplit(url)
    return Origin(
        parts.scheme, (parts.hostname or "").lower(), parts.port or _DEFAULT_PORTS.get(parts.scheme, 0)
    )


def is_forbidden_path(url: str) -> bool:
    """Whether a URL might end a session or delete something."""
    parts = urlsplit(url)
    return _FORBIDDEN.search(unquote(f"{parts.path}?{parts.query}")) is not None


class Scope:
    """Which origins may be asked.

    Args:
        url: the site.
        allowed_hosts: further hosts by name, with the site's scheme or https; a port may follow.
    """

    def __init__(self, url: str, allowed_hosts: Collection[str] = ()) -> None:
        self.home = origin_of(url)
        self._allowed = {self.home}
        for host in allowed_hosts:
            for scheme in {self.home.scheme, "https"}:
                self._allowed.add(origin_of(f"{scheme}://{host}"))

    @property
    def is_local(self) -> bool:
        """Whether the site is on this machine."""
        return is_loopback(self.home.host)

    def covers(self, url: str) -> bool:
        """Whether a URL may be asked."""
        return origin_of(url) in self._allowed


@dataclass(frozen=True, slots=True)
class Limits:
    """How much may be asked, and how fast.

    Attributes:
        requests: in all.
        per_s: requests a second; None for as fast as they are answered.
        parallel: at once.
    """

    requests: int
    per_s: float | None
    parallel: int


def limits_for(scope: Scope, requests: int = MAX_REQUESTS) -> Limits:
    """Return the limits for a site: gentle with others' machines."""
    requests = min(requests, MAX_REQUESTS)
    return Limits(requests, None, 16) if scope.is_local else Limits(requests, 5.0, 4)


class Brakes:
    """Stops the run when the site is not well: three 429 or 503, or five 5xx, one after the other."""

    def __init__(self) -> None:
        self._last: deque[int] = deque(maxlen=5)

    def note(self, status: int) -> None:
        """Take an answer's status into account.

        Raises:
            StoppedError: the site has had enough.
        """
        self._last.append(status)
        if len(self._last) >= 3 and all(each in {429, 503} for each in list(self._last)[-3:]):
            raise StoppedError(f"the site answered {status} three times in a row, so the run ended")
        if len(self._last) == 5 and all(each >= 500 for each in self._last):
            raise StoppedError("the site answered five times in a row with an error of its own (5xx)")


def retry_after_s(value: str, now_wall_s: float) -> float:
    """Return how long a Retry-After header asks to wait; 0 if it says nothing."""
    if value.strip().isdecimal():
        return float(value.strip())
    try:
        return max(parsedate_to_datetime(value).timestamp() - now_wall_s, 0.0)
    except (TypeError, ValueError):
        return 0.0

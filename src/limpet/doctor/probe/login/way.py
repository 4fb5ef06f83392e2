"""What every way to log in has in common."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    from limpet.doctor.evidence import Visit
    from limpet.doctor.probe.visitor import Visitor


class LoginError(Exception):
    """A login that cannot be tried: its text says what is wrong and what to do."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Attempt:
    """What came of a login.

    Attributes:
        before: the page with the form.
        submit: the answer to the credentials; None if none were sent.
        follow: the pages to which it led.
    """

    is_accepted: bool
    before: Visit | None = None
    submit: Visit | None = None
    follow: tuple[Visit, ...] = ()


class LoginWay(Protocol):
    """A way to log in."""

    @property
    def name(self) -> str:
        """Its name in reports."""
        ...

    @property
    def is_repeatable(self) -> bool:
        """Whether each use makes a new session."""
        ...

    @property
    def username(self) -> str:
        """Who logs in; "" if unknown."""
        ...

    async def log_in(self, visitor: Visitor, page_url: str) -> Attempt:
        """Log a browser in.

        Args:
            page_url: the page that differs when logged in.

        Raises:
            LoginError: it cannot be tried.
        """
        ...

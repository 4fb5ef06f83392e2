"""What a check answers: a finding, or why there is none.

There are three answers, because "nothing seen" is two things: a cause that would have shown and did
not is *ruled out*, and one that could not have shown is *not tested*. Only the first calms anybody.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum


class Severity(Enum):
    """What a finding means to the site's users.

    ERROR: they are losing sessions now. WARNING: they will on a deploy, a change of scale, an expiry
    or in some browsers. NOTE: worth knowing.
    """

    ERROR = "error"
    WARNING = "warning"
    NOTE = "note"

    @property
    def rank(self) -> int:
        """0 for the gravest."""
        return list(Severity).index(self)


class Confidence(Enum):
    """How sure a finding is, whatever its severity.

    CONFIRMED: seen directly, or by statistics on two logins. LIKELY: the evidence fits this cause
    better than any other. POSSIBLE: it fits others as well, which `Finding.rivals` names.
    """

    CONFIRMED = "confirmed"
    LIKELY = "likely"
    POSSIBLE = "possible"

    @property
    def rank(self) -> int:
        """0 for the surest."""
        return list(Confidence).index(self)


class Mode(Enum):
    """What it takes to see a cause; the accuracy of a check is measured in its mode."""

    LINT = "lint"  # a few responses show it for certain
    LOGIN = "default"  # an ordinary run with a login
    TIME = "--idle or --watch"
    CHECK = "check"  # only `limpet check` can bring it about


@dataclass(frozen=True, slots=True)
class SourceLine:
    """A line of the app that a finding points at; known to `limpet check` only."""

    path: str
    line: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Finding:
    """A cause that is there.

    Attributes:
        evidence: what was seen, a sentence each; no cookie's value, no secret.
        users_see: what it is like for a user.
        fix: what to do; may have several lines, with an example for the framework that was recognised.
        rivals: other rules which the same evidence fits.
        decide_by: the one test that decides between them.
        location: the line of the app to change.
    """

    rule: str
    severity: Severity
    confidence: Confidence
    evidence: tuple[str, ...]
    users_see: str
    fix: str
    rivals: tuple[str, ...] = ()
    decide_by: str = ""
    location: SourceLine | None = None


@dataclass(frozen=True, slots=True)
class RuledOut:
    """A cause that would have shown, and did not."""

    reason: str


@dataclass(frozen=True, slots=True)
class NotTested:
    """A cause about which this run can say nothing, and what could."""

    reason: str


Answer = Finding | RuledOut | NotTested

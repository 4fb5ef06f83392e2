"""How long sessions live, and what is done when the store does not answer: one object to review.

Every time is a promise to the user: a session never ends before it. Visits are written down at
most once in `touch_s`, so a session may live that much longer without one; never shorter.

Source: OWASP ASVS 5.0 7.1.1, 7.3.1, 7.3.2; NIST SP 800-63B-4 2.1.3, 2.2.3, 2.3.3 for the presets.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import Enum
from typing import TYPE_CHECKING, Any

from limpet.errors import ConfigError

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from limpet.sessions.record import Meta

#: A store keeps a record this much longer than it counts, for requests that are under way.
STORE_SLACK_S = 60.0
#: How long a tombstone tells why a session ended.
TOMBSTONE_S = 3600.0
_TOUCH_SHARE = 20
_MIN_TOUCH_S = 30.0


class OnUnknown(Enum):
    """What a request gets when the store does not say whether its session lives."""

    UNAVAILABLE = "unavailable"
    STALE = "stale"
    ANONYMOUS = "anonymous"


@dataclass(frozen=True, slots=True, kw_only=True)
class Policy:
    """The lifetimes of sessions and the rules of their fields.

    Attributes:
        idle_s: promised life without a visit.
        absolute_s: end of the session however busy it is; a login starts it anew.
        renew_s: age at which the id is replaced while the session goes on; None for never.
        grace_s: how long the old id still works after a client has shown the new one, and how
            long requests that began before a login may still write to the session that follows.
        on_unknown: an `OnUnknown`, or its value. UNAVAILABLE answers 503. STALE lets requests with
            a safe method (RFC 9110 section 9.2.1) read what this process has read within `stale_s`,
            and answers 503 else; a revocation elsewhere is not seen meanwhile. ANONYMOUS reads as if
            there were no session. Whoever wants to store something gets 503 in any case.
        stale_s: how old a copy STALE may use.
        merges: field name to `merge(base, theirs, mine) -> value`, called when another request
            has changed the field meanwhile; it may raise `SessionConflictError`. A missing
            value is None. Without a rule the later commit wins.
    """

    idle_s: float = 14 * 86400.0
    absolute_s: float = 30 * 86400.0
    renew_s: float | None = 86400.0
    grace_s: float = 10.0
    on_unknown: OnUnknown | str = OnUnknown.UNAVAILABLE
    stale_s: float = 60.0
    merges: Mapping[str, Callable[[Any, Any, Any], Any]] = field(default_factory=dict)

    def __post_init__(self) -> None:
        for name in ("idle_s", "absolute_s", "grace_s", "stale_s", "renew_s"):
            value = getattr(self, name)
            if not isinstance(value, int | float) and (value is not None or name != "renew_s"):
                raise ConfigError([f"sessions.{name}: {value!r} is no number of seconds; write one"])
        names = [each.value for each in OnUnknown]
        if isinstance(self.on_unknown, str) and self.on_unknown in names:
            object.__setattr__(self, "on_unknown", OnUnknown(self.on_unknown))
        problems = []
        if not isinstance(self.on_unknown, OnUnknown):
            problems.append(f"sessions.on_unknown: {self.on_unknown!r} is not one of {', '.join(names)}")
        if self.idle_s < 1:
            problems.append(f"sessions.idle_s: {self.idle_s!r} is below 1; sessions would end at once")
        if self.absolute_s < self.idle_s:
            problems.append(
                f"sessions.absolute_s: {self.absolute_s!r} is below idle_s {self.idle_s!r}; "
                "make it at least as long"
            )
        if self.renew_s is not None and self.renew_s <= self.grace_s:
            problems.append(
                f"sessions.renew_s: {self.renew_s!r} is not above grace_s {self.grace_s!r}; "
                "make it minutes at least, or None"
            )
        if problems:
            raise ConfigError(problems)


#: NIST SP 800-63B-4 assurance levels. AAL2 and AAL3 want users out after an hour and a quarter;
#: idle_s is what is promised, so it leaves room for the touch window.
AAL1 = Policy(idle_s=14 * 86400.0, absolute_s=30 * 86400.0)
AAL2 = Policy(idle_s=57 * 60.0, absolute_s=24 * 3600.0, renew_s=3600.0)
AAL3 = Policy(idle_s=14 * 60.0, absolute_s=12 * 3600.0, renew_s=900.0)
PRESETS = {"aal1": AAL1, "aal2": AAL2, "aal3": AAL3}


def preset(name: str) -> Policy:
    """Return a preset.

    Raises:
        ConfigError: there is none of that name.
    """
    if name not in PRESETS:
        raise ConfigError([f"sessions.policy: {name!r} is not one of {', '.join(PRESETS)}; or make a Policy"])
    return PRESETS[name]


def touch_s(idle_s: float) -> float:
    """Return how far apart visits are written down; short idle timeouts are written more often."""
    return min(max(_MIN_TOUCH_S, idle_s / _TOUCH_SHARE), idle_s)


def idle_end_s(meta: Meta, seen_s: float) -> float:
    """Return the wall clock time at which a session ends if nobody comes back."""
    return seen_s + meta.idle_s + touch_s(meta.idle_s)


def store_until_s(meta: Meta, seen_s: float) -> float:
    """Return the wall clock time until which a store keeps the record.

    Where an old cookie leads to it, longer than it lives: else that cookie would bring it back.
    """
    return max(min(idle_end_s(meta, seen_s), meta.ends_s), meta.old_ends_s) + STORE_SLACK_S

"""A1: sessions live in the memory of the process that took the login.

Every other process does not know them. The cookie is only an id, so no key explains the loss; how
often it happens is one less the home's share of the traffic, for every login alike.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from limpet.doctor import signs
from limpet.doctor.checks.check import Check
from limpet.doctor.evidence import ArmKind, Pattern
from limpet.doctor.finding import Confidence, Finding, Mode, NotTested, RuledOut, Severity, SourceLine
from limpet.doctor.fixes import shared_store

if TYPE_CHECKING:
    from limpet.doctor.evidence import Evidence
    from limpet.doctor.finding import Answer

RULE = "A1"


def answer(evidence: Evidence) -> Answer:
    """Take flapping cookies that carry no data for sessions in memory."""
    untested = signs.may_judge_frozen(evidence)
    if untested:
        return NotTested(untested)
    cause = signs.flap_cause(evidence)
    if cause is not signs.FlapCause.STATE or signs.pinned_only(evidence):
        return RuledOut(_why_not(evidence, cause))
    arms = signs.flapping(evidence) or signs.frozen_arms(evidence)
    place = next((each for each in evidence.sources if each.kind == "memory_state"), None)
    seen = (
        f"unchanged cookies: {signs.shown_arms(arms)}",
        signs.home_only(evidence),
        _names(evidence),
        _wiped(evidence),
    )
    return Finding(
        rule=RULE,
        severity=Severity.ERROR,
        confidence=Confidence.CONFIRMED if signs.confirmed_on_two_logins(evidence) else Confidence.LIKELY,
        evidence=tuple(filter(None, seen)),
        users_see=f"a logout on about {signs.loss_share(arms)} of page loads",
        fix=shared_store(evidence.products),
        rivals=() if place else ("L1", "A2", "A3"),
        decide_by="" if place else "limpet check MODULE:APP, which compares secrets and restarts replicas",
        location=SourceLine(place.path, place.line) if place else None,
    )


def _names(evidence: Evidence) -> str:
    names = ", ".join(repr(each.name) for each in evidence.session_cookies)
    return f"cookie {names} is an id and carries no data" if names else ""


def _wiped(evidence: Evidence) -> str:
    dead = [arm for arm in evidence.arms_of(ArmKind.JAR) if arm.pattern in {Pattern.DEAD, Pattern.OUT}]
    if dead and signs.auth_cookies_lost(evidence):
        return "the first miss replaces the cookie, so a browser stays out"
    return ""


def _why_not(evidence: Evidence, cause: signs.FlapCause | None) -> str:
    if cause is None:
        return "unchanged cookies were accepted every time"
    if signs.pinned_only(evidence):
        return "sessions hold as long as the balancer's cookie is sent (L2)"
    if cause is signs.FlapCause.KEY:
        return "the cookie carries the session's data"
    return f"another explanation fits better: {cause.value}"


CHECK = Check(
    RULE,
    "sessions in each process's memory",
    Mode.LOGIN,
    "https://bmosoluciones.github.io/now-lms/blog/2025/10/10/gunicorn-session/",
    answer,
)

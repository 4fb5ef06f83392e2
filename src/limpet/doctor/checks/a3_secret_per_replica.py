"""A3: replicas do not share the signing key.

The session is in the cookie, signed with a key that each process made for itself. Whoever has
another key sees a forged cookie and treats the user as logged out; nothing is deleted, so the next
visit may be in again.
"""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from limpet.doctor import signs
from limpet.doctor.checks.check import Check
from limpet.doctor.finding import Confidence, Finding, Mode, NotTested, RuledOut, Severity, SourceLine
from limpet.doctor.fixes import shared_secret

if TYPE_CHECKING:
    from limpet.doctor.evidence import Evidence
    from limpet.doctor.finding import Answer

RULE = "A3"


def answer(evidence: Evidence) -> Answer:
    """Compare the secrets themselves if they are known, else the arms."""
    different = signs.different_secrets(evidence)
    cause = signs.flap_cause(evidence)
    suspected = different or evidence.facts.get(signs.DIFFERENT_TEXTS, "")
    if suspected and cause is signs.FlapCause.KEY:
        seen = (f"replicas have different {suspected}", *_cookie(evidence), signs.home_only(evidence))
        sure = Confidence.CONFIRMED if different else Confidence.LIKELY
        return _finding(evidence, sure, tuple(filter(None, seen)))
    if different:
        return _harmless(evidence, different)
    if any(replica.secrets for replica in evidence.replicas):
        return RuledOut("the replicas have the same secrets")
    untested = signs.may_judge_frozen(evidence)
    if untested:
        return NotTested(untested)
    if cause is not signs.FlapCause.KEY:
        return RuledOut(_why_not(evidence))
    seen = (f"one unchanged cookie: {signs.shown_arms(signs.flapping(evidence))}", *_cookie(evidence))
    if signs.signs_its_store(evidence):
        return _djangos(evidence, tuple(filter(None, (*seen, signs.home_only(evidence)))))
    sure = Confidence.CONFIRMED if signs.confirmed_on_two_logins(evidence) else Confidence.LIKELY
    return _finding(evidence, sure, tuple(filter(None, (*seen, signs.home_only(evidence)))))


def _djangos(evidence: Evidence, seen: tuple[str, ...]) -> Finding:
    # Its sessions are rarely in a process's memory, and often in a database that all processes share.
    signed = "the cookie is an id of Django's, which signs what it keeps in its store with SECRET_KEY"
    finding = _finding(evidence, Confidence.LIKELY, (*seen, signed))
    decide_by = "hashes of SECRET_KEY in two processes; if they are equal, look at SESSION_ENGINE and CACHES"
    return replace(finding, rivals=("A1", "A2"), decide_by=decide_by)


def _harmless(evidence: Evidence, different: str) -> Finding:
    # Sessions may lie elsewhere and not depend on it; what else is signed does.
    is_untested = not evidence.logins
    finding = _finding(evidence, Confidence.LIKELY, (f"replicas have different {different}",))
    return replace(
        finding,
        severity=Severity.WARNING if is_untested else Severity.NOTE,
        users_see="logins may depend on it, which was not tested"
        if is_untested
        else "no login was lost by it; forms and links in mails that are signed with it fail now and then",
    )


def _cookie(evidence: Evidence) -> tuple[str, ...]:
    return tuple(
        f"cookie {each.name!r} is a {each.reading.product} cookie that carries its data, so a key decides"
        for each in evidence.session_cookies
        if each.reading is not None and each.reading.is_signed_data
    )


def _why_not(evidence: Evidence) -> str:
    cause = signs.flap_cause(evidence)
    if cause is None:
        return "unchanged cookies were accepted every time"
    if cause is signs.FlapCause.STATE:
        return "the cookie carries no data, so no key decides"
    return f"another explanation fits better: {cause.value}"


def _finding(evidence: Evidence, sure: Confidence, seen: tuple[str, ...]) -> Finding:
    made = next((each for each in evidence.sources if each.kind == "secret_made_at_import"), None)
    arms = signs.flapping(evidence) or signs.frozen_arms(evidence)
    return Finding(
        rule=RULE,
        severity=Severity.ERROR,
        confidence=sure,
        evidence=seen,
        users_see=f"a logout on about {signs.loss_share(arms)} of page loads, and then in again",
        fix=shared_secret(evidence.products),
        location=SourceLine(made.path, made.line) if made else None,
    )


CHECK = Check(
    RULE,
    "replicas do not share the signing key",
    Mode.LOGIN,
    "https://giraycoskun.dev/blog/2023/12/18/sharing-data-in-a-flask-app-accross-gunicorn-workers/",
    answer,
)

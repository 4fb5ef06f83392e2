"""L15: a CDN strips cookies.

A CDN that does not forward cookies makes every visit a stranger's: the login is taken, its cookie is sent,
and nothing comes of it.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from limpet.doctor import signs
from limpet.doctor.checks.check import Check
from limpet.doctor.finding import Confidence, Finding, Mode, NotTested, RuledOut, Severity

if TYPE_CHECKING:
    from limpet.doctor.evidence import Evidence
    from limpet.doctor.finding import Answer

RULE = "L15"


def answer(evidence: Evidence) -> Answer:
    """Look for sessions that never are in behind a CDN, though their cookies are sent."""
    if not any(login.is_accepted for login in evidence.logins):
        return NotTested("no login was accepted")
    if not signs.never_in(evidence):
        return RuledOut("a session was in")
    names = signs.auth_names(evidence)
    visits = [visit for arm in signs.browser_arms(evidence) for visit in arm.visits]
    sent = [visit for visit in visits if any(name in names for name, _ in visit.sent)]
    if not sent:
        return RuledOut("browsers do not send the session's cookie at all")
    if signs.never_in_by_cache(evidence):
        return RuledOut("a cache answered (B1)")
    between = signs.behind_cdn(evidence) or sorted(
        {visit.cache.cache for visit in visits if visit.cache.cache}
    )
    if not between:
        return RuledOut("no CDN or cache stands in front")
    anew = sum(
        any(each.name in names | set(evidence.balancer_cookies) for each in visit.set_cookies)
        for visit in sent
    )
    return Finding(
        rule=RULE,
        severity=Severity.ERROR,
        confidence=Confidence.LIKELY,
        evidence=(
            f"the login was accepted and its cookie sent {len(sent)} times, and every page was a stranger's",
            f"{', '.join(between)} stands in front; {anew} of {len(sent)} answers set the cookie anew",
        ),
        users_see="logging in has no effect",
        fix="Let the CDN forward all cookies on pages that depend on the user, and cache none of them",
    )


CHECK = Check(
    RULE,
    "a CDN strips cookies",
    Mode.LOGIN,
    "https://docs.aws.amazon.com/waf/latest/developerguide/waf-tokens-with-alb-and-cf.html",
    answer,
)

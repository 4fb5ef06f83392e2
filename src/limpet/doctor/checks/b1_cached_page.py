"""B1: a cache serves the logged-out page to everybody.

A CDN or proxy keeps the page that a stranger saw and serves it to those who are logged in, whatever Vary:
Cookie says. The app never sees these visits.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from limpet.doctor import signs
from limpet.doctor.checks.check import Check
from limpet.doctor.evidence import ArmKind
from limpet.doctor.finding import Confidence, Finding, Mode, NotTested, RuledOut, Severity

if TYPE_CHECKING:
    from limpet.doctor.evidence import Evidence
    from limpet.doctor.finding import Answer

RULE = "B1"


def answer(evidence: Evidence) -> Answer:
    """Look for lost visits that a cache answered."""
    untested = signs.may_judge_login(evidence)
    by_cache = signs.never_in_by_cache(evidence)
    if untested and not by_cache:
        return NotTested(untested)
    arms = evidence.arms_of(ArmKind.JAR, ArmKind.FROZEN, ArmKind.APP_ONLY)
    visits = [visit for arm in arms for visit in arm.visits]
    if not by_cache and not signs.lost_to_cache([visit for arm in arms for visit in arm.clear]):
        return RuledOut("no lost visit was answered by a cache (Age, HIT)")
    cached = sum(visit.cache.is_cached for visit in visits)
    busted = evidence.arms_of(ArmKind.BUSTED)
    seen = [f"{cached} of {len(visits)} visits with a session were answered by a cache"]
    if any(arm.ins for arm in busted):
        seen.append(f"with a query that no cache has seen: {signs.shown_arms(busted)}")
    return Finding(
        rule=RULE,
        severity=Severity.ERROR,
        confidence=Confidence.CONFIRMED if any(arm.ins for arm in busted) else Confidence.LIKELY,
        evidence=tuple(seen),
        users_see="a logged-out page, until the cache forgets it",
        fix="Answer pages that depend on the user with Cache-Control: private, no-store, and let "
        "the cache obey it",
    )


CHECK = Check(
    RULE,
    "a cache serves the logged-out page to everybody",
    Mode.LOGIN,
    "https://www.dcine.com/2018/01/10/cloudflare-cookie-caching-confusion/",
    answer,
)

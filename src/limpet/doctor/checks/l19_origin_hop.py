"""L19: a hop between http and https, or www and the bare name, loses the cookie.

The login happens on one name or scheme, the site goes on with another, and the cookie belongs to the first
alone.
"""

from __future__ import annotations

from typing import TYPE_CHECKING
from urllib.parse import urlsplit

from limpet.doctor.checks.check import Check
from limpet.doctor.finding import Confidence, Finding, Mode, NotTested, RuledOut, Severity

if TYPE_CHECKING:
    from limpet.doctor.evidence import CookieFact, Evidence
    from limpet.doctor.finding import Answer

RULE = "L19"


def answer(evidence: Evidence) -> Answer:
    """Look for redirects to a sister of the site's own origin."""
    if evidence.first is None or evidence.preflight is None:
        return NotTested("the page was not read")
    visits = [visit for visit in evidence.all_visits() if "://" in visit.location]
    sisters = {visit.location for visit in visits if _is_sister(visit.location, evidence)}
    if not sisters:
        return RuledOut("no redirect leads to another name or scheme of the site")
    where = min(sisters)
    narrow = [each for each in evidence.session_cookies if _is_lost(each, where, evidence)]
    if not narrow:
        return RuledOut("the cookie goes to the other name too")
    follows_login = any(
        visit is not None and visit.location in sisters
        for login in evidence.logins
        for visit in (login.submit, *login.follow)
    )
    return Finding(
        rule=RULE,
        severity=Severity.ERROR if follows_login else Severity.WARNING,
        confidence=Confidence.LIKELY,
        evidence=(
            f"a redirect {'after the login ' if follows_login else ''}leads to {where}",
            f"cookie {narrow[0].name!r} does not go there",
        ),
        users_see="a logout on the way from one name of the site to the other",
        fix="Redirect to one name and scheme before anybody logs in, and link to it only",
    )


def _is_sister(location: str, evidence: Evidence) -> bool:
    parts, preflight = urlsplit(location), evidence.preflight
    host = (parts.hostname or "").lower()
    if preflight is None or host.removeprefix("www.") != preflight.host.removeprefix("www."):
        return False
    return host != preflight.host or (parts.scheme == "https") != preflight.is_https


def _is_lost(cookie: CookieFact, location: str, evidence: Evidence) -> bool:
    parts, preflight = urlsplit(location), evidence.preflight
    if preflight is None:
        return False
    if (parts.hostname or "") != preflight.host and not cookie.domain:
        return True
    return parts.scheme == "http" and cookie.is_secure


CHECK = Check(
    RULE,
    "a hop between http and https, or www and the bare name, loses the cookie",
    Mode.LINT,
    "https://fixmymess.ai/blog/custom-domain-redirect-loops",
    answer,
)

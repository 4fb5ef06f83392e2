"""A19: TLS ends at the proxy and the app thinks that it is on http.

The proxy speaks https, the app behind it http, and nobody tells it. So it redirects to http, and some
frameworks refuse to send a Secure cookie at all.
"""

from __future__ import annotations

from typing import TYPE_CHECKING
from urllib.parse import urlsplit

from limpet.doctor import signs, trials
from limpet.doctor.checks.check import Check
from limpet.doctor.evidence import TrialKind
from limpet.doctor.finding import Confidence, Finding, Mode, NotTested, RuledOut, Severity
from limpet.doctor.fixes import trust_proxy

if TYPE_CHECKING:
    from limpet.doctor.evidence import Evidence, Login, Visit
    from limpet.doctor.finding import Answer

RULE = "A19"


def answer(evidence: Evidence) -> Answer:
    """Look for logins without a cookie, and redirects to http, on an https site."""
    if evidence.trial(TrialKind.TLS_IN_FRONT) is not None:
        return _rehearsed(evidence)
    if evidence.preflight is None or not evidence.preflight.is_https:
        return RuledOut("the site is not on https")
    accepted = [login for login in evidence.logins if login.is_accepted and login.submit is not None]
    bare = [login for login in accepted if not _sets_cookie(login)]
    downgraded = sorted({visit.location for visit in evidence.all_visits() if _is_downgrade(visit, evidence)})
    unsent = [name for login in accepted for name, reason in login.unsent if "Secure" in reason]
    seen = []
    if bare and signs.never_in(evidence):
        seen.append("the login was accepted, and no response sets a cookie")
    if downgraded:
        seen.append(f"redirects lead from https to {downgraded[0]}")
    if unsent:
        seen.append(f"cookie {unsent[0]!r} is Secure and the site continues on http")
    if not seen:
        return RuledOut("logins set cookies, and redirects stay on https")
    is_lost = signs.never_in(evidence)
    return Finding(
        rule=RULE,
        severity=Severity.ERROR if is_lost else Severity.WARNING,
        confidence=Confidence.CONFIRMED if len(seen) > 1 else Confidence.LIKELY,
        evidence=tuple(seen),
        users_see="logging in has no effect"
        if is_lost
        else "detours over http, where Secure cookies are missing",
        fix=trust_proxy(evidence.products),
    )


def _rehearsed(evidence: Evidence) -> Answer:
    # The server did not trust the balancer. A login without effect is the app's own doing; a refused
    # form is what a framework does until it is told which proxy to trust.
    untested = trials.needs(evidence, TrialKind.TLS_IN_FRONT)
    trial = evidence.trial(TrialKind.TLS_IN_FRONT)
    if untested or trial is None:
        return NotTested(untested)
    if not trials.lost(trial.after):
        return RuledOut("logging in works when the app takes https for http")
    return Finding(
        rule=RULE,
        severity=Severity.NOTE if "refused" in trial.note else Severity.WARNING,
        confidence=Confidence.CONFIRMED,
        evidence=tuple(
            filter(
                None,
                (
                    "TLS ended at a balancer that the app's server was not told to trust",
                    trial.note,
                    trials.shown(trial),
                ),
            )
        ),
        users_see="logging in has no effect, once TLS ends on another machine",
        fix=trust_proxy(evidence.products),
    )


def _sets_cookie(login: Login) -> bool:
    visits = [visit for visit in (login.submit, *login.follow) if visit is not None]
    return any(not each.is_deletion for visit in visits for each in visit.set_cookies)


def _is_downgrade(visit: Visit, evidence: Evidence) -> bool:
    host = evidence.preflight.host if evidence.preflight else ""
    return visit.location.startswith("http://") and (urlsplit(visit.location).hostname or "") == host


CHECK = Check(
    RULE,
    "TLS ends at the proxy and the app thinks that it is on http",
    Mode.LOGIN,
    "https://github.com/expressjs/session/issues/281",
    answer,
)

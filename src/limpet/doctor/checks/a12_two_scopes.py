"""A12: one cookie name at two scopes.

After a change of Domain or Path, browsers hold the old cookie beside the new one and send both. Servers
read the first, which may be the old one.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from limpet.doctor import signs
from limpet.doctor.checks.check import Check
from limpet.doctor.finding import Confidence, Finding, Mode, NotTested, RuledOut, Severity

if TYPE_CHECKING:
    from limpet.doctor.evidence import Evidence
    from limpet.doctor.finding import Answer

RULE = "A12"


def answer(evidence: Evidence) -> Answer:
    """Look for browsers that hold a session cookie twice."""
    if not evidence.logins and evidence.first is None:
        return NotTested("the page was not read")
    names = signs.auth_names(evidence) or {each.name for each in evidence.session_cookies}
    scopes: dict[str, set[tuple[str, str]]] = {}
    for each in evidence.set_cookies:
        if each.name in names and not each.refusal:
            scopes.setdefault(each.name, set()).add((each.domain, each.path))
    twice = _sent_twice(evidence, names)
    double = sorted(twice) or sorted(name for name, found in scopes.items() if len(found) > 1)
    if not double:
        return RuledOut("no browser holds a session's cookie twice")
    shown = [
        f"Domain={domain or '(host)'} Path={path or '(page)'}"
        for domain, path in sorted(scopes.get(double[0], ()))
    ]
    is_lost = any(arm.outs for arm in signs.browser_arms(evidence)) or signs.never_in(evidence)
    return Finding(
        rule=RULE,
        severity=Severity.ERROR if twice and is_lost else Severity.WARNING,
        confidence=Confidence.CONFIRMED if twice else Confidence.LIKELY,
        evidence=tuple(filter(None, (f"cookie {double[0]!r} is set at two scopes", "; ".join(shown)))),
        users_see="users who had the older cookie are out, until they clear their cookies",
        fix="Rename the cookie, or answer once with a deletion for the old Domain and Path",
    )


def _sent_twice(evidence: Evidence, names: set[str]) -> set[str]:
    found = set()
    for arm in signs.browser_arms(evidence):
        for visit in arm.visits:
            sent = [name for name, _ in visit.sent]
            found |= {name for name in names if sent.count(name) > 1}
    return found


CHECK = Check(
    RULE,
    "one cookie name at two scopes",
    Mode.LOGIN,
    "https://github.com/pallets/flask/issues/5462",
    answer,
)

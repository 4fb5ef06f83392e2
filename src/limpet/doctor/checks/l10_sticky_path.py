"""L10: the sticky cookie has the path of a request.

A balancer's cookie with the path of the page that set it is not sent to the others, which then stick to
another server.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from limpet.doctor.checks.check import Check
from limpet.doctor.finding import Confidence, Finding, Mode, NotTested, RuledOut, Severity

if TYPE_CHECKING:
    from limpet.doctor.evidence import Evidence
    from limpet.doctor.finding import Answer

RULE = "L10"


def answer(evidence: Evidence) -> Answer:
    """Look at the paths of balancers' cookies."""
    names = set(evidence.balancer_cookies)
    found = [each for each in evidence.set_cookies if each.name in names]
    if not found:
        return NotTested("no response sets a balancer's cookie")
    narrow = [each for each in found if each.path != "/" and not (each.path == "" and _is_root(evidence))]
    if not narrow:
        return RuledOut("the balancer's cookie has the path /")
    return Finding(
        rule=RULE,
        severity=Severity.WARNING,
        confidence=Confidence.CONFIRMED,
        evidence=(f"cookie {narrow[0].name!r} has the path {narrow[0].path or '(of the page)'!r}",),
        users_see="a logout when they go to another part of the site",
        fix='Give the sticky cookie the path "/" (ingress-nginx: session-cookie-path)',
    )


def _is_root(evidence: Evidence) -> bool:
    # A cookie without a path has that of the page's folder.
    return evidence.first is not None and evidence.first.path.count("/") == 1


CHECK = Check(
    RULE,
    "the sticky cookie has the path of a request",
    Mode.LINT,
    "https://kubernetes.github.io/ingress-nginx/examples/affinity/cookie",
    answer,
)

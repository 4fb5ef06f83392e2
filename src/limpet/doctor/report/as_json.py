"""A verdict as JSON. `schema` grows when a key changes its meaning; new keys may come at any time."""

from __future__ import annotations

from dataclasses import asdict
from typing import TYPE_CHECKING, Any

from limpet.doctor.checks import CHECKS
from limpet.doctor.rules import RULES

if TYPE_CHECKING:
    from limpet.doctor.evidence import Arm, CookieFact, Evidence
    from limpet.doctor.finding import Finding
    from limpet.doctor.verdict import Verdict

SCHEMA = 1


def render(verdict: Verdict) -> dict[str, Any]:
    """Return the report as values that JSON knows."""
    evidence = verdict.evidence
    return {
        "schema": SCHEMA,
        "command": evidence.command,
        "target": evidence.url,
        "verdict": verdict.name,
        "reason": verdict.reason,
        "findings": [_finding(each) for each in verdict.findings],
        "ruled_out": _reasons(verdict.ruled_out),
        "not_tested": _reasons(verdict.not_tested),
        "bounds": asdict(verdict.bounds) if verdict.bounds else None,
        "requests": {"used": evidence.used, "budget": evidence.budget},
        "oracle": evidence.oracle,
        "replicas": list(evidence.seen_replicas),
        "cookies": [_cookie(each, evidence) for each in evidence.set_cookies],
        "arms": [_arm(each) for each in evidence.arms if each.visits],
        "trials": [{"kind": each.kind.value, "note": each.note} for each in evidence.trials],
    }


def _finding(finding: Finding) -> dict[str, Any]:
    check = CHECKS.get(finding.rule)
    place = finding.location
    return {
        "rule": finding.rule,
        "title": check.title if check else RULES[finding.rule],
        "severity": finding.severity.value,
        "confidence": finding.confidence.value,
        "evidence": list(finding.evidence),
        "users_see": finding.users_see,
        "fix": finding.fix,
        "rivals": list(finding.rivals),
        "decide_by": finding.decide_by,
        "source": check.source if check else "",
        "location": {"path": place.path, "line": place.line} if place else None,
    }


def _reasons(reasons: Any) -> list[dict[str, str]]:
    return [{"rule": rule, "title": RULES[rule], "reason": reason} for rule, reason in reasons.items()]


def _cookie(cookie: CookieFact, evidence: Evidence) -> dict[str, Any]:
    reading = cookie.reading
    is_balancers = cookie.name in evidence.balancer_cookies
    return {
        "name": cookie.name,
        "product": reading.product if reading else "",
        "role": "balancer" if is_balancers else cookie.role.value,
        "digest": cookie.digest,
        "size_bytes": cookie.size_bytes,
        "max_age_s": cookie.max_age_s,
        "domain": cookie.domain,
        "path": cookie.path,
        "same_site": cookie.same_site,
        "secure": cookie.is_secure,
        "http_only": cookie.is_http_only,
        "partitioned": cookie.is_partitioned,
        "refused_by_browsers": cookie.refusal,
        "data_keys": list(reading.data_keys) if reading else [],
    }


def _arm(arm: Arm) -> dict[str, Any]:
    return {
        "kind": arm.kind.value,
        "name": arm.kind.name.lower(),
        "login": arm.login,
        "note": arm.note,
        "sequence": arm.sequence,
        "pattern": arm.pattern.value,
        "visits": [
            {
                "at_s": round(visit.at_s, 3),
                "since_login_s": None if visit.since_login_s is None else round(visit.since_login_s, 3),
                "status": visit.status,
                "outcome": visit.outcome.value,
                "replica": visit.replica,
                "sent": dict(visit.sent),
                "set": [each.name for each in visit.set_cookies],
            }
            for visit in arm.visits
        ],
    }

"""A8: the ASP.NET key ring is not shared.

ASP.NET Core seals its cookies with a key ring and writes the key's id in front, in clear. Cookies that
different servers make for strangers show whether they share the ring.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from limpet.doctor.checks.check import Check
from limpet.doctor.finding import Confidence, Finding, Mode, RuledOut, Severity

if TYPE_CHECKING:
    from limpet.doctor.evidence import Evidence
    from limpet.doctor.finding import Answer

RULE = "A8"


def answer(evidence: Evidence) -> Answer:
    """Compare the ids of keys in the cookies that strangers get."""
    keys: dict[str, set[str]] = {}
    for visit in evidence.anonymous:
        for each in visit.set_cookies:
            if each.reading is not None and each.reading.product == "ASP.NET Core" and each.reading.key_id:
                keys.setdefault(each.name.rpartition(".")[0], set()).add(each.reading.key_id)
    if not keys:
        return RuledOut("no cookie is sealed by ASP.NET Core")
    different = {name: ids for name, ids in keys.items() if len(ids) > 1}
    if not different:
        return RuledOut("all cookies were sealed with one key")
    name, ids = next(iter(different.items()))
    return Finding(
        rule=RULE,
        severity=Severity.ERROR,
        confidence=Confidence.CONFIRMED,
        evidence=(
            f"cookies {name}.* for strangers were sealed with {len(ids)} keys, by the key id in clear",
        ),
        users_see="a logout whenever another server answers, and forms that are refused",
        fix="Persist the Data Protection keys where all servers read them, with one application name:\n"
        '  services.AddDataProtection().PersistKeysToStackExchangeRedis(...).SetApplicationName("site")',
    )


CHECK = Check(
    RULE,
    "the ASP.NET key ring is not shared",
    Mode.LINT,
    "https://github.com/dotnet/aspnetcore/issues/2513",
    answer,
)

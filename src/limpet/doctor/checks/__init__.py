"""Checks: one file per cause, pure. The order is that of findings which are equally grave and sure.

To add one: a file here named after rule and cause, a line in `CHECKS`, a page docs/doctor/RULE.md.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from limpet.doctor.checks import a1_memory_sessions, a3_secret_per_replica

if TYPE_CHECKING:
    from limpet.doctor.checks.check import Check

CHECKS: dict[str, Check] = {
    check.rule: check
    for check in (
        a3_secret_per_replica.CHECK,
        a1_memory_sessions.CHECK,
    )
}

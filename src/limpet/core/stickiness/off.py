"""No stickiness: every request is chosen anew."""

from __future__ import annotations

from typing import TYPE_CHECKING

from limpet.core.stickiness.contract import (
    NOTHING_CARRIED,
    NOTHING_TO_BIND,
    AfterRecovery,
    Binding,
    Carried,
    Finding,
    OnUnavailable,
    StickyStatus,
)

if TYPE_CHECKING:
    from collections.abc import Mapping

    from limpet.core.clock import Now
    from limpet.core.request import RequestHead, ResponseHead
    from limpet.core.stickiness.settings import Sealing, StickinessSettings
    from limpet.core.target import TargetState

_FOUND_NOTHING = Finding(StickyStatus.OFF, is_settled=True)


class Off:
    """Stickiness switched off."""

    kind = "off"
    on_unavailable = OnUnavailable.REDISTRIBUTE
    after_recovery = AfterRecovery.STICKY
    own_cookies: frozenset[bytes] = frozenset()
    first_visits = None

    def __init__(self, settings: StickinessSettings, sealing: Sealing) -> None:
        del settings, sealing

    def find(self, request: RequestHead, targets: Mapping[str, TargetState], now: Now) -> Finding:
        """Find nothing."""
        del request, targets, now
        return _FOUND_NOTHING

    def bind(
        self,
        request: RequestHead,
        finding: Finding,
        target_id: str,
        response: ResponseHead,
        now: Now,
        carried: Carried = NOTHING_CARRIED,
    ) -> Binding:
        """Bind nothing."""
        del request, finding, target_id, response, now, carried
        return NOTHING_TO_BIND

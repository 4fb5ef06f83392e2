"""What relief is told by the configuration."""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum
from typing import TYPE_CHECKING

from limpet.core.active_sessions import TUNNEL

if TYPE_CHECKING:
    from limpet.core.active_sessions import Residence


class Assumed(Enum):
    """What is believed of a group's sessions."""

    AUTO = "auto"  # what their responses say; pinned until one does
    PORTABLE = "portable"  # any target can serve any of them, whatever they say
    PINNED = "pinned"  # none can be moved


def why_pinned(residence: Residence, assumed: Assumed) -> str:
    """Return why an active session has to stay; "" if it may leave."""
    if assumed is Assumed.PINNED and not residence.why_pinned:
        return "configured"
    if assumed is Assumed.PORTABLE and residence.why_pinned != TUNNEL:
        return ""
    return residence.why_pinned


@dataclass(frozen=True, slots=True, kw_only=True)
class ReliefSettings:
    """How a group's targets are relieved.

    Attributes:
        is_on: whether sessions are ever moved for the sake of balance.
        max_excess: a target may carry (1 + this) times its share of the requests in flight.
        moves_per_minute: sessions that may get another home, as a share of the active ones, while a
            target is far above its share; close to it a twenty-fifth of that is enough.
        assumed: what is believed of the sessions.
    """

    is_on: bool = True
    max_excess: float = 0.25
    moves_per_minute: float = 1.0
    assumed: Assumed = Assumed.AUTO

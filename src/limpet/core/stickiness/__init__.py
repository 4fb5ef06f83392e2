"""Kinds of stickiness: what pins a session to its target.

To add one: a file here, a line in `KINDS`, a line in docs/stickiness.md.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from limpet.core.stickiness.app_cookie import AppCookie
from limpet.core.stickiness.client_key import HeaderStickiness, SourceIp
from limpet.core.stickiness.lb_cookie import LbCookie
from limpet.core.stickiness.off import Off

if TYPE_CHECKING:
    from collections.abc import Callable

    from limpet.core.stickiness.contract import Stickiness
    from limpet.core.stickiness.settings import Sealing, StickinessSettings

KINDS: dict[str, Callable[[StickinessSettings, Sealing], Stickiness]] = {
    "off": Off,
    "lb_cookie": LbCookie,
    "app_cookie": AppCookie,
    "source_ip": SourceIp,
    "header": HeaderStickiness,
}

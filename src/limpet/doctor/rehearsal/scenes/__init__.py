"""The scenes of a rehearsal, one file each, in the order in which they are played.

To add one: a file here with `play`, and a line in `SCENES`. A scene finds the balancer in any mode,
logs in anew, and leaves replicas and clocks as it found them.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from limpet.doctor.rehearsal.scenes import (
    parallel_refresh,
    refresh,
    restart_all,
    restart_one,
    scale,
    second_login,
    skewed_clock,
    slow_request,
    sticky,
    store_stopped,
    tls_in_front,
)

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from limpet.doctor.rehearsal.rehearsal import Rehearsal

#: What is told while a scene is played, and the scene. The first decides how the others are played.
SCENES: dict[str, Callable[[Rehearsal], Awaitable[None]]] = {
    "refresh": refresh.play,
    "sticky": sticky.play,
    "second login": second_login.play,
    "parallel refresh": parallel_refresh.play,
    "slow request": slow_request.play,
    "TLS in front": tls_in_front.play,
    "skewed clock": skewed_clock.play,
    "scale": scale.play,
    "store stopped": store_stopped.play,
    "restart one": restart_one.play,
    "restart all": restart_all.play,
}

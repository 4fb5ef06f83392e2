"""The ways of keeping people logged in that the demo compares; to add one: an entry in `MODES`."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal

from limpet.config.load import load_data
from limpet.demo.names import MEMORY_COOKIE, SESSIONS_FIELD

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from limpet.config.schema import Settings

GROUP = "shop"
#: Dead servers are noticed, and new ones used, soon enough to be watched.
#: Sessions move within seconds, not within the minute that a site has for it: it is to be watched.
_RELIEF = {"moves_per_minute": 6.0}
_HEALTH_CHECK = {"path": "/health", "interval_s": 1, "timeout_s": 1, "healthy_threshold": 1}


@dataclass(frozen=True, slots=True, kw_only=True)
class Mode:
    """One way.

    Attributes:
        title: as on its button.
        sessions: where the shop keeps its logins: in each server's memory, or in the shared store.
        algorithm: how the target of a new session is chosen.
        stickiness: table of the configuration.
        says: what it is, in plain words.
    """

    name: str
    title: str
    sessions: Literal["memory", "store"]
    algorithm: str
    stickiness: Mapping[str, Any]
    says: str

    @property
    def is_sticky(self) -> bool:
        """Whether a session has a server of its own."""
        return bool(self.stickiness["type"] != "off")


MODES = {
    mode.name: mode
    for mode in (
        Mode(
            name="off",
            title="No stickiness",
            sessions="memory",
            algorithm="round_robin",
            stickiness={"type": "off"},
            says="Every page goes to the next server in turn. Logins are in each server's own memory.",
        ),
        Mode(
            name="lb_cookie",
            title="Duration cookie",
            sessions="memory",
            algorithm="round_robin",
            stickiness={"type": "lb_cookie"},
            says="limpet gives each browser a sealed cookie: one server for all its pages, for a day.",
        ),
        Mode(
            name="app_cookie",
            title="Application cookie",
            sessions="memory",
            algorithm="round_robin",
            stickiness={"type": "app_cookie", "app_cookie": MEMORY_COOKIE},
            says="limpet follows the shop's own login cookie: one server from the login to the logout.",
        ),
        Mode(
            name="stateless",
            title="Stateless",
            sessions="store",
            algorithm="least_outstanding_requests",
            stickiness={"type": "off"},
            says="Logins are in a store that every server reads. Any server answers any page.",
        ),
        Mode(
            name="together",
            title="Together",
            sessions="store",
            algorithm="least_outstanding_requests",
            stickiness={"type": "lb_cookie"},
            says="The store, and a cookie as a hint: people stay where they are known, and may move.",
        ),
    )
}


def settings(mode: Mode, listen: str, targets: Iterable[Mapping[str, Any]]) -> Settings:
    """Return the balancer's configuration in a mode.

    Args:
        listen: where the shop is served.
        targets: tables of the configuration.
    """
    # The rule tells the servers which of their two versions is wanted; nobody else can.
    told = {SESSIONS_FIELD: mode.sessions}
    rule = {"name": "every-page", "forward": GROUP, "request_headers": {"set": told}}
    return load_data(
        {
            "listeners": [{"address": listen, "rules": [rule]}],
            "target_groups": {
                GROUP: {
                    "targets": list(targets),
                    "algorithm": mode.algorithm,
                    "stickiness": dict(mode.stickiness),
                    "relief": _RELIEF,
                    "health_check": {**_HEALTH_CHECK, "headers": told},
                }
            },
            "access_log": {"path": "off"},
            "shutdown_timeout_s": 1,
        }
    )

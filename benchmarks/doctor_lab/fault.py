"""A cause as a site that has it, and what the doctor has to call it."""

from __future__ import annotations

from dataclasses import dataclass

#: A line of HAProxy's that makes a browser stay with its replica.
STICKY = "cookie SERVERID insert indirect nocache"


@dataclass(frozen=True, kw_only=True)
class Fault:
    """A site.

    Attributes:
        rule: the cause that has to be named first; "" for a well site.
        site: what it runs.
        front: lines of HAProxy's configuration, `balance` among them if it is not by chance.
        mode: "lint", "default" or "idle".
        stack: "flask" or "fastapi".
        is_named: whether answers say which replica they are from.
        settles_s: how long after a login its youth is over.
        idle_s: how long a session is left alone.
    """

    name: str
    rule: str
    site: str
    front: tuple[str, ...] = ()
    mode: str = "default"
    stack: str = "flask"
    is_named: bool = False
    settles_s: float = 0.3
    idle_s: float = 0.0
    also: str = ""


def fault(name: str, rule: str, site: str, *front: str, **more: object) -> Fault:
    """Return a fault; `more` are its other fields."""
    return Fault(name=name, rule=rule, site=site, front=front, **more)  # type: ignore[arg-type]

"""The story in plain words: the guide's steps, and one line on what is happening now. Pure."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Sequence

    from limpet.demo.modes import Mode


class Step(NamedTuple):
    """One step of the guide.

    Attributes:
        part: of the story: Problem, Fix, Catch or Cure.
        mode: that it needs; an act begins if another is on, or if `is_fresh`.
        events: that it causes, the next when the one before is over.
        is_fresh: begins an act in any case.
    """

    part: str
    title: str
    text: str
    mode: str
    events: Sequence[str] = ()
    is_fresh: bool = False


STEPS = (
    Step(
        "Problem",
        "Logged out at random",
        "One small shop on five servers, A to E, with many people in it. Each server keeps in its own "
        "memory who has logged in there. A balancer in front sends every page to the next server in turn, "
        "and the next server has never heard of you. Each red dot is somebody who had logged in and is "
        "asked to log in again.",
        "off",
        is_fresh=True,
    ),
    Step(
        "Fix",
        "Sticky sessions",
        "Now limpet gives each browser a cookie that names one server, sealed so that nobody can read or "
        "forge it. Every refresh goes where you are logged in: the dots stay where they are, and nobody "
        "is logged out.",
        "lb_cookie",
    ),
    Step(
        "Catch",
        "A crowd sticks where it arrived",
        "A crowd arrives within seconds, while C, D and E are being updated and only A and B take new "
        "people. When the updates are done it is too late: the crowd is pinned. A and B cannot keep up, "
        "pages get slow, C, D and E idle.",
        "lb_cookie",
        ("influx",),
    ),
    Step(
        "Catch",
        "A dies, and its logins with it",
        "A is killed. limpet sends its people to other servers at once, but what A knew was in its "
        "memory. All of them are logged out, and stickiness cannot help it. The application cookie has "
        "the same catch: try it below.",
        "lb_cookie",
        ("kill",),
    ),
    Step(
        "Cure",
        "A store that every server reads",
        "The same shop with two lines more: limpet.sessions keeps the logins in a store beside the "
        "servers. Any server answers any page, no cookie names one, and nobody has to stay anywhere.",
        "stateless",
    ),
    Step(
        "Cure",
        "Now do your worst",
        "The same crowd, and A is killed again. After the rush the load is even within seconds, and when "
        "A dies nobody is logged out. The price: every page asks the store, so a silent store means "
        "waiting, though never a logout.",
        "stateless",
        ("influx", "kill"),
    ),
    Step(
        "Cure",
        "Both together",
        "The store, and the sealed cookie as a hint: people stay where they are known, which is kind to "
        "caches, and because their logins are in the store they move without one logout when a server is "
        "hot, dies or is drained. Now it is your turn: press any button below, or be a user yourself.",
        "together",
        is_fresh=True,
    ),
)


class Scene(NamedTuple):
    """What the line is made of.

    Attributes:
        recent_logouts: of the last seconds.
        last_event: of the act, and how long ago it was.
        states: of the servers, by name.
        loads: pages a second by name.
        capacity: pages a second that one server can make.
    """

    mode: Mode
    recent_logouts: int
    last_event: str
    since_event_s: float
    is_paused: bool
    is_pouring: bool
    is_store_silent: bool
    states: dict[str, str]
    loads: dict[str, float]
    capacity: float


#: How long an event is what there is to tell.
_NEWS_S = 6.0
#: A server above this part of what it can do is one that people wait for.
_HOT = 0.85
_IDLE = 0.4


def tell(scene: Scene) -> str:
    """Return one or two sentences on what is happening."""
    if scene.is_paused:
        return "Everybody pauses. Figures and dots stand still."
    if scene.is_store_silent:
        return (
            "The store is silent. Pages that need it get “try again” (503) and keep their cookies: "
            "nobody is logged out."
        )
    if scene.is_pouring:
        return "A crowd pours in, and only A and B take new people."
    news = _news(scene) if scene.since_event_s < _NEWS_S else ""
    return news or _usual(scene)


def _news(scene: Scene) -> str:
    is_shared = scene.mode.sessions == "store"
    if scene.last_event == "kill":
        away = "A is down. " if scene.states.get("A") != "serving" else "A is back. "
        if is_shared:
            return away + "Its people go on elsewhere, still logged in: their logins are in the store."
        return away + "Whoever was logged in there is logged out: the logins died with its memory."
    if scene.last_event == "drain":
        if is_shared:
            return "B is out of service. Its people go on elsewhere, still logged in."
        return "B is out of service, and its people are logged out: nobody else knows their logins."
    if scene.last_event == "add":
        if scene.mode.is_sticky and not is_shared:
            return "There is a new server, but everybody is pinned elsewhere: it gets new people only."
        return "There is a new server, and it has work at once."
    return ""


def _usual(scene: Scene) -> str:
    if scene.recent_logouts:
        people = "person was" if scene.recent_logouts == 1 else "times somebody was"
        return f"In the last two seconds {scene.recent_logouts} {people} thrown out. {_why(scene.mode)}"
    hot = [name for name, load in scene.loads.items() if load > _HOT * scene.capacity]
    idle = [
        n for n, load in scene.loads.items() if load < _IDLE * scene.capacity and scene.states[n] == "serving"
    ]
    if hot and idle:
        return f"Nobody is logged out, but {_listed(hot)} cannot keep up while {_listed(idle)} could do more."
    return f"Nobody is logged out. {_calm(scene.mode)}"


def _why(mode: Mode) -> str:
    if mode.name == "off":
        return "Each page goes to another server, which does not know them."
    return "The server that knew them is gone."


def _calm(mode: Mode) -> str:
    if mode.name == "together":
        return "Everybody has a server, and could move at any time."
    if mode.is_sticky:
        return "Everybody stays on one server."
    return "Dots jump, because any server may answer, and all of them know everybody."


def _listed(names: list[str]) -> str:
    return names[0] if len(names) == 1 else f"{', '.join(names[:-1])} and {names[-1]}"

"""A whole rehearsal: start the app, learn the way in, play the scenes, and return what was seen."""

from __future__ import annotations

import contextlib
import os
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING

from limpet.doctor.evidence import ArmKind, Evidence, Preflight, ReplicaFact, SourceFact
from limpet.doctor.rehearsal.entrance import Credentials
from limpet.doctor.rehearsal.learn import LearningError, learn
from limpet.doctor.rehearsal.rehearsal import Rehearsal
from limpet.doctor.rehearsal.relay import Relay, stores_in
from limpet.doctor.rehearsal.scenes import SCENES
from limpet.doctor.rehearsal.setting_up import setting_up
from limpet.doctor.rehearsal.site import Site
from limpet.doctor.rehearsal.source import line_of, read_source
from limpet.doctor.rehearsal.stage import Facts, Stage
from limpet.doctor.signs import DIFFERENT_TEXTS

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Mapping, Sequence

    from limpet.replicas.app import Interface


#: Requests that a rehearsal makes at most; a scene that may not fit any more is not played.
BUDGET = 300
_MOST_PER_SCENE = 40


@dataclass(frozen=True, slots=True, kw_only=True)
class Plan:
    """What to rehearse, and how.

    Attributes:
        app: import string.
        replicas: how many take part.
        environ: variables of the app, besides those of this process.
        form: path of the login, "" to find it.
        page: path that differs when logged in, "" to find it.
        host: Host header for apps that serve one name only.
        scenes: what is played.
        setup: function that makes a user, `MODULE:FUNCTION`; "" for none.
    """

    app: str
    replicas: int = 3
    interface: Interface | None = None
    environ: Mapping[str, str] = field(default_factory=dict)
    credentials: Credentials = field(default_factory=Credentials)
    form: str = ""
    page: str = ""
    host: str = ""
    setup: str = ""
    scenes: Collection[str] = tuple(SCENES)


async def rehearse(plan: Plan, on_progress: Callable[[str, int], None]) -> Evidence:
    """Put an app through production.

    Args:
        on_progress: called with what begins now, and the requests made so far.

    Raises:
        AppError: the app cannot be run; the message says why.
        ReplicaError: a process ended before it was ready.
        SetUpError: no user could be made.
    """
    on_progress("starting the app", 0)
    relays = {name: Relay(url) for name, url in stores_in({**os.environ, **plan.environ}).items()}
    try:
        for relay in relays.values():
            await relay.start()
        environ = {**plan.environ, **{name: relay.url for name, relay in relays.items()}}
        async with contextlib.AsyncExitStack() as stack:
            given: Mapping[str, str] = {}
            if plan.setup:
                given = await stack.enter_async_context(setting_up(plan.app, plan.setup, environ))
            stage = Stage(plan.app, plan.replicas, interface=plan.interface, environ=environ)
            await stack.enter_async_context(stage)
            return await _played(plan, stage, list(relays.values()), given, on_progress)
    finally:
        for relay in relays.values():
            await relay.close()


async def _played(
    plan: Plan,
    stage: Stage,
    relays: Sequence[Relay],
    given: Mapping[str, str],
    on_progress: Callable[[str, int], None],
) -> Evidence:
    facts = {name: await stage.facts(name) for name in (*stage.first, stage.spare)}
    known = _known(plan, facts)
    site = Site(stage, plan.host)
    site.products = frozenset(facts[stage.spare].frameworks)
    credentials = _who(plan.credentials, given)
    site.look_for(credentials.user)
    try:
        on_progress("looking for the login", site.used)
        await stage.use(stickiness="lb_cookie")
        first = (await site.new_browser().ask("GET", plan.page or "/")).visit
        try:
            learnt = await learn(site, credentials, form=plan.form, page=plan.page, replicas=len(stage.first))
        except LearningError as error:
            return replace(known, first=first, stopped=str(error), used=site.used)
        rehearsal = Rehearsal(stage, site, learnt.way, learnt.page, learnt.auth, relays)
        played = await _play(rehearsal, plan.scenes, on_progress)
        return replace(
            known,
            url=f"{plan.app} {learnt.page}",
            first=first,
            oracle=f"{learnt.oracle.sentence} on {learnt.page}, after logging in by {learnt.way}",
            logins=tuple(rehearsal.logins),
            arms=tuple(rehearsal.arms),
            anonymous=tuple(
                visit for arm in rehearsal.arms if arm.kind is ArmKind.NONE for visit in arm.visits
            ),
            trials=tuple(rehearsal.trials),
            sources=(*_grown(rehearsal.grown, facts[stage.spare]), *known.sources),
            rotating=rehearsal.rotating,
            facts={**known.facts, **rehearsal.facts},
            tested=played,
            used=site.used,
        )
    finally:
        await site.close()


async def _play(
    rehearsal: Rehearsal, scenes: Collection[str], on_progress: Callable[[str, int], None]
) -> frozenset[str]:
    played: set[str] = set()
    for name, play in SCENES.items():
        if name not in scenes:
            continue
        if rehearsal.site.used + _MOST_PER_SCENE > BUDGET and played:
            break
        on_progress(name, rehearsal.site.used)
        await play(rehearsal)
        played.add(name)
    return frozenset(played)


def _who(asked: Credentials, given: Mapping[str, str]) -> Credentials:
    fields = {name: value for name, value in given.items() if name not in {"username", "password"}}
    return Credentials(
        user=given.get("username", asked.user),
        password=given.get("password", asked.password),
        fields={**asked.fields, **fields},
    )


def _known(plan: Plan, facts: Mapping[str, Facts]) -> Evidence:
    # What is known without a login.
    some = next(iter(facts.values()))
    sources: list[SourceFact] = []
    for path in some.sources:
        sources += read_source(_shown(path), _text(path))
    everyone = list(facts.values())
    named, unnamed = _different([each.secrets for each in everyone]), _different([x.texts for x in everyone])
    unnamed = [place for place in unnamed if place not in named]
    return Evidence(
        command="check",
        url=plan.app,
        preflight=Preflight(host=plan.host, is_https=True),
        replicas=tuple(
            ReplicaFact(name=name, secrets=tuple(each.secrets.items())) for name, each in facts.items()
        ),
        sources=(*_made_anew([*named, *unnamed], some), *sources),
        facts={DIFFERENT_TEXTS: ", ".join(unnamed)},
    )


def _different(known: Sequence[Mapping[str, str]]) -> list[str]:
    # The places whose texts are not the same in all processes.
    return [place for place in known[0] if len({each.get(place) for each in known}) > 1]


def _made_anew(places: Sequence[str], facts: Facts) -> list[SourceFact]:
    found = []
    for place in places:
        module, _, name = place.rpartition(".")
        path = facts.modules.get(module)
        line = line_of(_text(path), name) if path else None
        if path and line:
            detail = f"{name} is another one in each process"
            found.append(
                SourceFact(kind="secret_made_at_import", path=_shown(path), line=line, detail=detail)
            )
    return found


def _grown(grown: Sequence[str], facts: Facts) -> list[SourceFact]:
    # Containers that a login filled, with the line that makes them.
    found = []
    for place in grown:
        module, _, name = place.partition(":")
        path = facts.modules.get(module)
        line = line_of(_text(path), name.partition(".")[0]) if path else None
        if path and line:
            found.append(
                SourceFact(
                    kind="memory_state", path=_shown(path), line=line, detail=f"{name} grew at a login"
                )
            )
    return found


def _shown(path: str) -> str:
    here = Path.cwd()
    return str(Path(path).relative_to(here)) if Path(path).is_relative_to(here) else path


def _text(path: str) -> str:
    try:
        return Path(path).read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError):
        return ""

"""`limpet check`: would this app log people out in production?"""

from __future__ import annotations

import asyncio
import os
import secrets
import signal
import sys
import time
from typing import TYPE_CHECKING, Any

import click
import uvloop

from limpet.cli.output import EXIT_USAGE, fail, say, told_problems
from limpet.cli.progress import Progress
from limpet.cli.report_options import read_report_options, report_and_exit, report_options
from limpet.doctor.rehearsal.entrance import Credentials
from limpet.doctor.rehearsal.run import BUDGET, Plan, rehearse
from limpet.doctor.rehearsal.setting_up import SetUpError
from limpet.doctor.verdict import judge
from limpet.replicas.app import AppError
from limpet.replicas.replica import ReplicaError
from limpet.sessions.service import SECRET_VARIABLE, STORE_VARIABLE
from limpet.sessions.stores import open_store

if TYPE_CHECKING:
    from collections.abc import Callable

    from limpet.doctor.evidence import Evidence

_DJANGO_USER = "limpet.doctor.rehearsal.django_user:django_user"
#: As shells say that a signal ended a command.
_INTERRUPTED = 130


@click.command()
@click.argument("app", metavar="MODULE:APP")
@click.option(
    "--replicas", type=click.IntRange(2, 16), default=3, show_default=True, help="Processes of the app."
)
@click.option(
    "--interface", type=click.Choice(["asgi", "wsgi"]), help="What the app is, if that cannot be found out."
)
@click.option("--form", metavar="PATH", default="", help="The page that logs in.  [default: found]")
@click.option(
    "--page", metavar="PATH", default="", help="A page that differs when logged in.  [default: found]"
)
@click.option("--username", metavar="NAME", help="Who logs in.  [default: limpet-check]")
@click.option(
    "--password-env", metavar="VAR", help="Environment variable with the password.  [default: limpet-check]"
)
@click.option(
    "--field",
    "fields",
    metavar="NAME=VALUE",
    multiple=True,
    help="A further field of the login; NAME=@VAR takes it from the environment.",
)
@click.option(
    "--setup", metavar="MODULE:FUNCTION", default="", help="Makes a user; returns (or yields) the fields."
)
@click.option(
    "--django-user", is_flag=True, help="Make a superuser in the app's database, and delete it afterwards."
)
@click.option("--host", metavar="NAME", default="", help="Host header, for apps that serve one name only.")
@click.option(
    "--session-store",
    metavar="URL",
    envvar=STORE_VARIABLE,
    help="Passed on to the app as LIMPET_SESSION_STORE, with a LIMPET_SECRET if there is none.",
)
@report_options
def check(app: str, **given: Any) -> None:
    """Find out whether an app would log people out in production.

    Runs it as several processes behind a balancer, logs in, and does what production does: requests
    that go anywhere, parallel ones, a killed process, a restart of all, one more, one fewer, a wrong
    clock, a store that is away. Each cause that shows is told with what to do.

    Exit codes: 0 nothing found, 1 findings, 2 usage, 3 inconclusive.
    """
    options = read_report_options(given)
    plan = _plan(app, given)
    began_s = time.monotonic()
    with Progress(is_quiet=options.is_json) as progress:

        def on_progress(what: str, used: int) -> None:
            progress.requests(used, BUDGET)
            progress.phase(what)

        evidence = _run(plan, on_progress)
    verdict = judge(evidence, fail_on=options.fail_on, only=options.rules)
    report_and_exit(verdict, options, took_s=time.monotonic() - began_s)


def _plan(app: str, given: dict[str, Any]) -> Plan:
    if given["django_user"] and given["setup"]:
        fail("--setup and --django-user each make a user; give one of them", EXIT_USAGE)
    who: dict[str, Any] = {"fields": dict(_field(text) for text in given["fields"])}
    if given["username"]:
        who["user"] = given["username"]
    if given["password_env"]:
        who["password"] = _from_environment("--password-env", given["password_env"])
    for name in ("form", "page"):
        if given[name] and not given[name].startswith("/"):
            fail(f"--{name} {given[name]}: is no path; begin with /", EXIT_USAGE)
    with told_problems():
        environ = _session_environ(given["session_store"]) if given["session_store"] else {}
    return Plan(
        app=app,
        replicas=given["replicas"],
        interface=given["interface"],
        environ=environ,
        credentials=Credentials(**who),
        form=given["form"],
        page=given["page"],
        host=given["host"],
        setup=_DJANGO_USER if given["django_user"] else given["setup"],
    )


def _run(plan: Plan, on_progress: Callable[[str, int], None]) -> Evidence:
    try:
        with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
            return runner.run(_ended_by_sigterm(plan, on_progress))
    except (AppError, ReplicaError, SetUpError) as error:
        fail("\n".join([str(error), *getattr(error, "__notes__", ())]), EXIT_USAGE)
    except (KeyboardInterrupt, asyncio.CancelledError):
        say("interrupted; every process has ended")
        sys.exit(_INTERRUPTED)


async def _ended_by_sigterm(plan: Plan, on_progress: Callable[[str, int], None]) -> Evidence:
    # Ctrl-C is the runner's; both cancel, so that what was started is ended.
    task = asyncio.current_task()
    assert task is not None  # noqa: S101  # a coroutine runs in one
    asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, task.cancel)
    return await rehearse(plan, on_progress)


def _field(text: str) -> tuple[str, str]:
    name, equals, value = text.partition("=")
    if not equals or not name:
        fail(f"--field {text}: is no field; write NAME=VALUE or NAME=@VAR", EXIT_USAGE)
    return name, _from_environment(f"--field {name}", value[1:]) if value.startswith("@") else value


def _from_environment(option: str, variable: str) -> str:
    value = os.environ.get(variable)
    if value is None:
        fail(f"{option}: the environment has no {variable}; set it", EXIT_USAGE)
    return value


def _session_environ(store: str) -> dict[str, str]:
    open_store(store).close()  # a mistake in the URL shall be told before the app is started
    secret = os.environ.get(SECRET_VARIABLE) or secrets.token_urlsafe(32)
    return {STORE_VARIABLE: store, SECRET_VARIABLE: secret}

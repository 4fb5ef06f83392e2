"""`limpet serve`: run an app as several replicas and balance over them."""

from __future__ import annotations

import os
import sys
from contextlib import closing
from typing import TYPE_CHECKING, Any

import click

from limpet.cli.balance_options import balance_options, flags
from limpet.cli.output import EXIT_USAGE, fail, say, told_problems
from limpet.cli.start_up import announce
from limpet.config.flags import settings_from_flags
from limpet.control.run import run
from limpet.control.session_secret import load_session_secret
from limpet.replicas.app import AppError
from limpet.replicas.replica import AppSettings, ReplicaError
from limpet.replicas.replica_set import ReplicaSet
from limpet.sessions.service import SECRET_VARIABLE, SECURE_VARIABLE, STORE_VARIABLE
from limpet.sessions.stores import open_store

if TYPE_CHECKING:
    from limpet.config.schema import Settings
    from limpet.replicas.app import Interface

#: A replica that was started again is back in seconds, not in the two rounds of checks that a
#: server somewhere else has to pass.
_HEALTH_CHECK = {"interval_s": 2, "healthy_threshold": 1}


@click.command()
@click.argument("app", metavar="MODULE:APP")
@click.option(
    "--replicas",
    "count",
    type=click.IntRange(1, 256),
    default=5,
    show_default=True,
    help="Copies of the app.",
)
@click.option(
    "--interface", type=click.Choice(["asgi", "wsgi"]), help="What the app is, if that cannot be found out."
)
@click.option(
    "--session-store",
    metavar="URL",
    envvar=STORE_VARIABLE,
    help="Passed on to the app as LIMPET_SESSION_STORE, with a LIMPET_SECRET that is made and kept if "
    "there is none.",
)
@balance_options
def serve(app: str, count: int, interface: Interface | None, session_store: str | None, **given: Any) -> None:
    """Run an app on several server processes, and balance over them.

    The app is ASGI or WSGI. APP may also be a function that makes the app: MODULE:FUNCTION(). The
    processes are called A, B, C and so on, and know their letter as LIMPET_REPLICA. One that dies
    is started again.
    """
    with told_problems():
        environ = _session_environ(session_store) if session_store else {}
    settings = AppSettings(app=app, interface=interface, environ=environ)
    with told_problems(), closing(ReplicaSet(settings, count)) as replica_set:
        targets = [
            {"name": replica.name, "address": str(replica.address)} for replica in replica_set.replicas
        ]
        asked = flags(targets, given)

        def load() -> Settings:
            return settings_from_flags(asked, {"target_groups": {"default": {"health_check": _HEALTH_CHECK}}})

        load()  # a mistake in the options shall be told before the app is started
        try:
            code = run(load, on_ready=announce(app), on_message=say, services=[replica_set])
        except AppError as error:
            fail(str(error), EXIT_USAGE)
        except ReplicaError as error:
            fail(str(error))
    sys.exit(code)


def _session_environ(store: str) -> dict[str, str]:
    secret = load_session_secret()
    if not secret.is_lasting:
        say(f"the session secret is in memory only: a restart logs everyone out; set {SECRET_VARIABLE}")
    elif not secret.origin.startswith("$"):
        say(f"the session secret is kept in {secret.origin}; to choose it yourself, set {SECRET_VARIABLE}")
    open_store(store).close()  # a mistake in the URL shall be told before the app is started
    return {
        STORE_VARIABLE: store,
        SECRET_VARIABLE: secret.text,
        # Browsers reach this balancer without TLS, unless one is told otherwise.
        SECURE_VARIABLE: os.environ.get(SECURE_VARIABLE, "0"),
    }

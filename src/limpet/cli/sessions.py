"""`limpet sessions`: who is logged in where, the end of sessions from outside, and their store's health."""

from __future__ import annotations

import sqlite3
import sys
from contextlib import closing, contextmanager, suppress
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple
from urllib.parse import unquote, urlsplit

import click
from rich.markup import escape
from rich.table import Table

from limpet.cli.output import (
    EXIT_FAILED,
    EXIT_UNREACHABLE,
    EXIT_USAGE,
    console,
    counted,
    fail,
    print_json,
    say,
    told_problems,
)
from limpet.control.session_secret import (
    SessionSecret,
    default_path,
    find_session_secret,
    read_session_secret,
)
from limpet.sessions import NotSupportedByStoreError, Sessions, StoreUnavailableError
from limpet.sessions.secret_ids import other_secrets
from limpet.sessions.service import SECRET_VARIABLE, STORE_VARIABLE
from limpet.sessions.session_id import split_secrets
from limpet.sessions.stores import open_store
from limpet.sessions.stores.sqlite import holds_sessions

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from limpet.sessions import Listed

#: An operator waits longer than a request may.
_DEADLINE_S = 4.0
_GIVE_SECRET = f"an app with another one needs --secret-file or {SECRET_VARIABLE}"

_store_option: Callable[[Callable[..., None]], Callable[..., None]] = click.option(
    "--store",
    "url",
    metavar="URL",
    envvar=STORE_VARIABLE,
    help=f"The store, as the app names it.  [default: ${STORE_VARIABLE}]",
)
_secret_option: Callable[[Callable[..., None]], Callable[..., None]] = click.option(
    "--secret-file",
    metavar="PATH",
    type=click.Path(path_type=Path),
    help=f"File with the app's secrets, newest first.  [default: ${SECRET_VARIABLE}, else what serve made]",
)
_json_option: Callable[[Callable[..., None]], Callable[..., None]] = click.option(
    "--json", "as_json", is_flag=True, help="Print everything, as JSON."
)


@click.group()
def sessions() -> None:
    """List and end the sessions of an app that uses limpet.sessions.

    It works on the store, whether a balancer runs or not. Give the store and the secret that the
    app has; a URL with a password is better given in LIMPET_SESSION_STORE than in --store.
    """


@sessions.command("list")
@click.argument("user")
@_json_option
@_store_option
@_secret_option
def list_(user: str, as_json: bool, url: str | None, secret_file: Path | None) -> None:
    """List a user's sessions, the one seen last first.

    USER is the id that the app gives at login; 42 finds both the number and the text. Exit code 1
    if there are none.
    """
    with _opened(url, secret_file) as opened:
        listed = opened.sessions.list_user(user)
        if as_json:
            found = [{**each._asdict(), "auth_s": each.auth_s or None} for each in listed]
            print_json({"user": user, "sessions": found})
        elif listed:
            console().print(_table(listed))
        if not listed:
            opened.refuse_other_secret()
            fail(f"user {user!r} has no session {opened.reach()}")


@sessions.command()
@click.option("--user", metavar="USER", help="End all sessions of a user.")
@click.option("--session", "reference", metavar="REF", help="End one, named as in the list.")
@click.option("--everyone", is_flag=True, help="End all sessions of all users.")
@click.option("--yes", is_flag=True, help="With --everyone: do not ask.")
@click.option(
    "--wait", is_flag=True, help="Return when no server can have a copy left: about a second later."
)
@_store_option
@_secret_option
def revoke(
    user: str | None,
    reference: str | None,
    everyone: bool,
    yes: bool,
    wait: bool,
    url: str | None,
    secret_file: Path | None,
) -> None:
    """End sessions, at once and on every server.

    Servers with a near-cache see it at once, and with --wait it is certain that they have, even if one
    is cut off from the store. Exit code 1 if there was no such session; what --user finds nothing of is
    revoked all the same.
    """
    if [user is not None, reference is not None, everyone].count(True) != 1:
        raise click.UsageError("say whose: one of --user USER, --session REF and --everyone")
    with _opened(url, secret_file) as opened:
        if user is not None:
            _revoke_user(opened, user, wait=wait)
        elif reference is not None:
            _revoke_reference(opened, reference, wait=wait)
        else:
            _revoke_everyone(opened, is_sure=yes, wait=wait)


@sessions.command()
@_json_option
@_store_option
def check(as_json: bool, url: str | None) -> None:
    """Say what about the store can log users out.

    Each finding comes with its fix, and is explained in docs/sessions/operate.md. Exit code 1 if
    one of them is an error.
    """
    with told_problems(), closing(open_store(_url(url), timeout_s=_DEADLINE_S / 2)) as store:
        found = store.check()
    if as_json:
        print_json({"findings": [each._asdict() for each in found]})
    elif found:
        for each in found:
            colour = "red" if each.severity == "error" else "yellow"
            console().print(
                f"[{colour}]{each.id} {each.severity}[/]: {escape(each.what)}\n  {escape(each.fix)}"
            )
    else:
        click.echo("nothing about this store will log users out")
    if any(each.severity == "error" for each in found):
        sys.exit(EXIT_FAILED)


class _Opened(NamedTuple):
    # A store with a secret, and whether nobody said that the secret is the app's.
    sessions: Sessions
    is_guess: bool

    def refuse_other_secret(self) -> None:
        # For when nothing was found: with another secret nothing can be.
        others = self.sessions.run(other_secrets(self.sessions))
        if others:
            ids = f"{counted(len(others), 'id')} {', '.join(others)}"
            what = f"the sessions in this store are signed with another secret ({ids})"
            fail(f"{what}; give that one with --secret-file or {SECRET_VARIABLE}", EXIT_USAGE)

    def reach(self) -> str:
        # Where a session was looked for.
        return "that was signed with this secret" if self.is_guess else "in this store"


def _revoke_user(opened: _Opened, user: str, *, wait: bool) -> None:
    listed = opened.sessions.list_user(user)
    opened.sessions.revoke_user(user, with_old=True, wait=wait)
    if not listed:
        opened.refuse_other_secret()
        promise = "" if opened.is_guess else "; had there been one, it would be over now"
        fail(f"user {user!r} has no session {opened.reach()}{promise}")
    click.echo(f"{user}: {counted(len(listed), 'session')} ended")


def _revoke_reference(opened: _Opened, reference: str, *, wait: bool) -> None:
    if not opened.sessions.revoke_reference(reference, wait=wait):
        opened.refuse_other_secret()
        fail(f"there is no session {reference!r}; limpet sessions list USER shows how they are named")
    click.echo(f"{reference}: ended")


def _revoke_everyone(opened: _Opened, *, is_sure: bool, wait: bool) -> None:
    if not is_sure:
        if not sys.stdin.isatty():
            fail("this logs out every user; if you mean it, add --yes", EXIT_USAGE)
        click.confirm("Log out every user of this store?", abort=True)
    opened.sessions.revoke_everyone(wait=wait)
    click.echo("every session of every user ended")


@contextmanager
def _opened(url: str | None, secret_file: Path | None) -> Iterator[_Opened]:
    with told_problems():
        secret = _secret(secret_file)
        found = Sessions(_url(url), secret=split_secrets(secret.text), deadline_s=_DEADLINE_S)
    is_guess = secret.origin == str(default_path())
    if is_guess:
        say(f"the secret is the one that serve keeps in {secret.origin}; {_GIVE_SECRET}")
    try:
        with closing(found.store):
            yield _Opened(found, is_guess)
    except StoreUnavailableError as error:
        fail(f"the session store does not say: {error}", EXIT_UNREACHABLE)
    except NotSupportedByStoreError as error:
        fail(str(error))


def _secret(path: Path | None) -> SessionSecret:
    if path is None:
        return find_session_secret()
    return SessionSecret(read_session_secret(path), f"--secret-file {path}", True)


def _url(url: str | None) -> str:
    if not url:
        fail(f"there is no store; name the app's with {STORE_VARIABLE} or --store URL", EXIT_USAGE)
    with suppress(ValueError):  # the store says what is wrong
        _check_place(url)
    return url


def _check_place(url: str) -> None:
    parts = urlsplit(url)
    if parts.scheme == "memory":
        fail("memory:// is within the app's process; nobody can look into it from outside", EXIT_USAGE)
    # SQLite would make an empty file of a misspelt name, and then know nobody.
    path = unquote(parts.path).removeprefix("/")
    if parts.scheme == "sqlite" and path:
        _check_file(path)


def _check_file(path: str) -> None:
    fix = "run this in the app's folder, or write its full path"
    if not Path(path).exists():
        fail(f"there is no file {path!r}; {fix}", EXIT_USAGE)
    # A store makes its tables in whatever database it is given.
    with suppress(sqlite3.Error):  # no database at all: the store says so
        if not holds_sessions(path):
            fail(f"there are no limpet sessions in the file {path!r}; {fix}", EXIT_USAGE)


def _table(listed: list[Listed]) -> Table:
    table = Table(box=None, pad_edge=False)
    table.add_column("reference", no_wrap=True)  # to be copied into the next command
    for name in ("device", "address", "logged in", "last seen", "ends by"):
        table.add_column(name, overflow="fold")
    for each in listed:
        times = [_time(each.auth_s), _time(each.seen_s), _time(each.ends_s)]
        table.add_row(each.reference, _shown(each.device), _shown(each.address), *times)
    return table


def _shown(text: str) -> str:
    # A User-Agent is what somebody sends; it must not move the cursor or recolour the terminal.
    return escape("".join(each if each.isprintable() else "\N{REPLACEMENT CHARACTER}" for each in text))


def _time(time_s: float) -> str:
    if time_s == 0:
        return "unknown"
    return f"{datetime.fromtimestamp(time_s, UTC):%Y-%m-%d %H:%M}Z"

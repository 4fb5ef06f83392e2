"""`limpet doctor`: why does a site log its users out?"""

from __future__ import annotations

import asyncio
import os
import re
import ssl
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import urljoin, urlsplit

import click

from limpet.cli.output import EXIT_UNREACHABLE, EXIT_USAGE, fail
from limpet.cli.progress import Progress
from limpet.cli.report_options import read_report_options, report_and_exit, report_options
from limpet.doctor.probe.client import Client
from limpet.doctor.probe.digest import Digest
from limpet.doctor.probe.examine import examine
from limpet.doctor.probe.login import brought
from limpet.doctor.probe.login.form import FormLogin
from limpet.doctor.probe.login.json_body import JsonLogin
from limpet.doctor.probe.login.way import LoginError
from limpet.doctor.probe.mark import MarkError, read_mark
from limpet.doctor.probe.observe import Observer
from limpet.doctor.probe.phases.passive import UnreachableError
from limpet.doctor.probe.plan import QUICK, Counts, Plan
from limpet.doctor.probe.safety import Scope, is_forbidden_path, limits_for
from limpet.doctor.verdict import judge

if TYPE_CHECKING:
    from collections.abc import Callable

    from limpet.doctor.evidence import Evidence
    from limpet.doctor.probe.client import Reply
    from limpet.doctor.probe.login.way import LoginWay

_DURATION = re.compile(r"(\d+(?:\.\d+)?)\s*(s|m|h)?")
_UNITS_S = {"s": 1, "m": 60, "h": 3600, None: 1}
_PATH: Any = click.Path(path_type=Path, exists=True, dir_okay=False)


def _duration(ctx: click.Context, param: click.Parameter, value: str | None) -> float:
    del ctx
    match = _DURATION.fullmatch(value or "0")
    if match is None:
        raise click.BadParameter(f"{value!r} is no duration; write 90s, 30m or 1h", param=param)
    return float(match[1]) * _UNITS_S[match[2]]


@click.command()
@click.argument("url")
@click.option("--form", "form_url", metavar="URL", help="Log in by the form on this page.")
@click.option("--login-json", "json_url", metavar="URL", help="Log in by posting JSON to this URL.")
@click.option("--username", metavar="NAME", default="", help="Who logs in. Use a throw-away account.")
@click.option("--password-env", metavar="VAR", help="Variable with the password; asked for if it is needed.")
@click.option("--username-field", metavar="NAME", default="", help="Input or key of the name, if not found.")
@click.option("--password-field", metavar="NAME", default="", help="Input or key of the password.")
@click.option("--field", "fields", metavar="NAME=VALUE", multiple=True, help="A further input or key.")
@click.option("--cookie-env", metavar="VAR", help="Variable with the cookies of a session: a=b; c=d")
@click.option("--cookies", "cookie_file", metavar="FILE", type=_PATH, help="Session in a cookies.txt.")
@click.option("--storage-state", metavar="FILE", type=_PATH, help="Session saved by Playwright.")
@click.option(
    "--curl", "curl_file", metavar="FILE", type=click.File(), help="Request copied as cURL; - is stdin."
)
@click.option("--har", "har_file", metavar="FILE", type=_PATH, help="Session in a HAR with sensitive data.")
@click.option("--allow-frozen", is_flag=True, help="Replay a brought session unchanged, at its owner's risk.")
@click.option("--in-text", metavar="TEXT", help="A page with this text is that of somebody logged in.")
@click.option("--in-json", metavar="KEY[=VALUE]", help="So is a JSON body with this key (a.b is nested).")
@click.option("--in-status", metavar="STATUS", type=click.IntRange(100, 599), help="So is this status.")
@click.option("--as-user", metavar="NAME", help="The name that pages show, if it is not --username.")
@click.option("--also", metavar="URL", multiple=True, help="Another page that users visit in between.")
@click.option("--allow-host", metavar="HOST", multiple=True, help="Another host that may be asked.")
@click.option("--resolve", "addresses", metavar="ADDRESS", multiple=True, help="Ask this IP address instead.")
@click.option("--ca-file", metavar="FILE", type=_PATH, help="Certificate authority to trust.")
@click.option("--insecure", is_flag=True, help="Do not check certificates.")
@click.option("--idle", "idle_s", metavar="TIME", callback=_duration, help="Also wait: 30m. Finds expiry.")
@click.option("--watch", "watch_s", metavar="TIME", callback=_duration, help="Watch while you deploy: 10m.")
@click.option("--quick", is_flag=True, help="About 60 requests instead of 175; sees less.")
@click.option("--max-requests", type=click.IntRange(10, 300), default=300, help="The budget.  [default: 300]")
@click.option("--dry-run", is_flag=True, help="Say what would be done, and do nothing.")
@click.option("--yes", is_flag=True, help="Do not ask before visiting a site that is not on this machine.")
@click.option("--quiet", is_flag=True, help="No progress on standard error.")
@report_options
def doctor(url: str, **given: Any) -> None:
    """Find out why a site logs its users out.

    URL is a page that differs when logged in. Without a login only what shows to strangers is
    judged. Nothing is written, nothing is guessed, and at most 300 requests are sent; see
    docs/doctor/README.md.

    Exit codes: 0 nothing found, 1 findings, 2 usage, 3 inconclusive, 4 unreachable.
    """
    reports = read_report_options(given)
    url = _site(url)
    try:
        way = _way(url, given)
        plan = _plan(url, way, given)
        mark = read_mark(given["in_text"], given["in_json"], given["in_status"])
    except (LoginError, MarkError) as error:
        fail(str(error), EXIT_USAGE)
    scope = Scope(url, given["allow_host"])
    _agree(plan, scope, given)
    started_s = time.monotonic()
    evidence = _run(plan, scope, given, mark)
    verdict = judge(evidence, fail_on=reports.fail_on, only=reports.rules)
    report_and_exit(verdict, reports, took_s=time.monotonic() - started_s)


def _run(plan: Plan, scope: Scope, given: dict[str, Any], mark: Callable[[Reply], bool] | None) -> Evidence:
    username = given["as_user"] or (plan.way.username if plan.way else "")
    observer = Observer(Digest(), started_s=time.monotonic(), username=username, mark=mark)

    async def run(progress: Progress) -> Evidence:
        client = Client(
            scope,
            limits=limits_for(scope, given["max_requests"]),
            verify=_verify(given),
            address=given["addresses"][0] if given["addresses"] else "",
            tell=progress.requests,
        )
        return await examine(plan, client, observer, tell=progress.phase)

    try:
        with Progress(is_quiet=given["quiet"]) as progress:
            return asyncio.run(run(progress))
    except UnreachableError as error:
        fail(f"{error}; look at the address, or name another with --resolve", EXIT_UNREACHABLE)
    except LoginError as error:
        fail(str(error), EXIT_USAGE)


def _site(url: str) -> str:
    if "://" not in url:
        url = f"https://{url}"
    parts = urlsplit(url)
    if parts.scheme not in {"http", "https"} or not parts.hostname:
        fail(f"{url!r} is no URL of a page; write https://HOST/PATH", EXIT_USAGE)
    if parts.username:
        fail("the URL has a password in it; it would be seen by every user of this machine", EXIT_USAGE)
    if is_forbidden_path(url):
        fail(f"{url}: looks as if it logged out or deleted something; name another page", EXIT_USAGE)
    return parts._replace(path=parts.path or "/", fragment="").geturl()


def _plan(url: str, way: LoginWay | None, given: dict[str, Any]) -> Plan:
    return Plan(
        url=url,
        way=way,
        also=tuple(urljoin(url, each) for each in given["also"]),
        addresses=given["addresses"],
        counts=QUICK if given["quick"] else Counts(),
        idle_s=given["idle_s"],
        watch_s=given["watch_s"],
        may_freeze_brought=given["allow_frozen"],
    )


def _way(url: str, given: dict[str, Any]) -> LoginWay | None:
    names = ("form_url", "json_url", "cookie_env", "cookie_file", "storage_state", "curl_file", "har_file")
    chosen = [name for name in names if given[name]]
    if len(chosen) > 1:
        raise LoginError("there are two ways to log in; name one of them")
    if not chosen:
        return None
    if chosen[0] in {"form_url", "json_url"}:
        return _credentials(url, given)
    host = (urlsplit(url).hostname or "").lower()
    name, cookies = _brought(chosen[0], host, given)
    return brought.BroughtCookies(cookies, name, given["as_user"] or given["username"])


def _credentials(url: str, given: dict[str, Any]) -> LoginWay:
    if not given["username"]:
        raise LoginError("--username: is missing; name who logs in")
    kind = FormLogin if given["form_url"] else JsonLogin
    return kind(
        url=urljoin(url, given["form_url"] or given["json_url"]),
        username=given["username"],
        password=_password(given["password_env"]),
        username_field=given["username_field"],
        password_field=given["password_field"],
        extra=_pairs(given["fields"]),
    )


def _brought(kind: str, host: str, given: dict[str, Any]) -> tuple[str, tuple[Any, ...]]:
    if kind == "cookie_env":
        return "cookies", brought.from_header(_variable("--cookie-env", given[kind]), host)
    if kind == "cookie_file":
        return "cookie file", brought.from_cookie_file(given[kind])
    if kind == "storage_state":
        return "Playwright", brought.from_storage_state(given[kind])
    if kind == "curl_file":
        return "cURL", brought.from_curl(given[kind].read(), host)
    return "HAR", brought.from_har(given[kind], host)


def _password(variable: str | None) -> str:
    if variable is not None:
        return _variable("--password-env", variable)
    if sys.stdin.isatty():
        return str(
            click.prompt(
                "Password (empty for none)", hide_input=True, default="", show_default=False, err=True
            )
        )
    return ""


def _variable(option: str, name: str) -> str:
    value = os.environ.get(name, "")
    if not value:
        raise LoginError(f"{option} {name}: the variable is not set; export it before")
    return value


def _pairs(fields: tuple[str, ...]) -> dict[str, str]:
    for each in fields:
        if "=" not in each:
            raise LoginError(f"--field {each}: has no value; write NAME=VALUE")
    return dict(each.split("=", 1) for each in fields)


def _verify(given: dict[str, Any]) -> ssl.SSLContext | bool:
    if given["insecure"]:
        return False
    if given["ca_file"]:
        return ssl.create_default_context(cafile=str(given["ca_file"]))
    return True


def _agree(plan: Plan, scope: Scope, given: dict[str, Any]) -> None:
    # What will be done is shown, and agreed to if the site is not this machine's.
    limits = limits_for(scope, given["max_requests"])
    pace = f"at most {limits.per_s:g} a second" if limits.per_s else "as fast as they are answered"
    lines = [*plan.steps(), f"at most {limits.requests} requests, {pace}, {limits.parallel} at once"]
    told = "\n".join(["limpet doctor is going to:", *(f"  - {line}" for line in lines)])
    if given["dry_run"]:
        click.echo(told)
        sys.exit(0)
    if scope.is_local or given["yes"]:
        return
    click.echo(told, err=True)
    if not sys.stdin.isatty():
        fail("the site is not on this machine; if you may do this, add --yes", EXIT_USAGE)
    click.confirm("May you do this to the site, and shall it begin?", abort=True, err=True)

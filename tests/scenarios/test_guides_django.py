"""docs/guides/three-django-servers.md, run: the admin over https, a server dies, a deployment."""

from __future__ import annotations

import re
import shlex
import shutil
import subprocess
import sys
from contextlib import ExitStack
from typing import TYPE_CHECKING

import guides
import pytest
from authority import Authority
from ports import free_port
from stores import SOUND, valkey

if TYPE_CHECKING:
    from pathlib import Path

    import httpx

GUIDE = guides.Guide("docs/guides/three-django-servers.md")
LIVE = "/etc/letsencrypt/live/shop.example/"
ORIGIN = {"Origin": "https://shop.example", "Referer": "https://shop.example/admin/login/"}
OLD, NEW = "body { color: black }", "body { color: green }"

#: The site's own page, with a style that a release changes.
FRONT_PAGE = """
from django.templatetags.static import static

def front_page(request):
    return HttpResponse(f'<link rel="stylesheet" href="{static("style.css")}">')

urlpatterns.append(path("", front_page))
"""
MORE_SETTINGS = """
INSTALLED_APPS += ["shop"]  # for its static files
PASSWORD_HASHERS = ["django.contrib.auth.hashers.MD5PasswordHasher"]  # the test has no time for better
LIMPET_SESSION_DEADLINE_S = 10  # nor may a busy machine make it think that the store is down
"""
USERS = """
import os
import django
os.environ["DJANGO_SETTINGS_MODULE"] = "shop.settings"
django.setup()
from django.contrib.auth.models import User
from django.core.management import call_command
call_command("migrate", verbosity=0)
User.objects.create_superuser("ann", password="a password of ann")
"""


class Machine:
    """A server of the guide with files of its own: its release, its static files."""

    def __init__(self, name: str, folder: Path, environ: dict[str, str]) -> None:
        self.name = name
        self.address = f"127.0.0.{ord(name) - ord('a') + 2}"
        self.where = (self.address, free_port(self.address))
        self._folder = folder / name
        self._environ = environ

    def install(self, project: Path) -> None:
        """Bring a release: the project with its static files, beside those of the last one."""
        for part in ("app", "static"):
            shutil.copytree(project / part, self._folder / part, dirs_exist_ok=True)
        settings = self._folder / "app/shop/settings.py"
        here = {str(project / "static"): self._folder / "static"}
        settings.write_text(guides.replaced(settings.read_text(), here))

    def start(self) -> None:
        """Start gunicorn as the guide does."""
        command = guides.replaced(
            GUIDE.commands("gunicorn shop.wsgi")[1],
            {"10.0.0.11:8000": "{}:{}".format(*self.where), "10.0.0.10": "127.0.0.1"},
        )
        log = self._folder / "gunicorn.log"
        words = shlex.split(command)
        self.server = guides.Server(words, self.where, log, self._folder / "app", **self._environ)

    def pull_the_plug(self) -> None:
        """End it, if it runs."""
        self.server.__exit__()


def _manage(command: str, folder: Path, environ: dict[str, str]) -> None:
    words = [sys.executable, *shlex.split(command)[1:]]
    done = subprocess.run(
        words, cwd=folder, env=environ, capture_output=True, text=True, timeout=guides.TIMEOUT_S, check=False
    )
    assert done.returncode == 0, done.stderr


def _start_project(project: Path, environ: dict[str, str]) -> None:
    # What `django-admin startproject shop` makes, with the guide's settings after its own.
    app = project / "app"
    app.mkdir(parents=True)
    _manage("python -m django startproject shop .", app, environ)
    settings = app / "shop/settings.py"
    own = guides.replaced(settings.read_text(), {"BASE_DIR / 'db.sqlite3'": repr(str(project / "shop.db"))})
    ours = guides.replaced(GUIDE.block("# shop/settings.py"), {"/srv/shop/static": project / "static"})
    settings.write_text(own + ours + MORE_SETTINGS)
    (app / "shop/urls.py").write_text(GUIDE.block("# shop/urls.py") + FRONT_PAGE)
    (app / "shop/static").mkdir()
    (app / "users.py").write_text(USERS)
    _manage("python users.py", app, environ)


def _build(project: Path, style: str, environ: dict[str, str]) -> None:
    # A release, whose only news is a style.
    (project / "app/shop/static/style.css").write_text(style)
    shutil.rmtree(project / "static", ignore_errors=True)
    _manage(GUIDE.commands("gunicorn shop.wsgi")[0], project / "app", environ)


class Site:
    """limpet and the three servers."""

    def __init__(self, limpet, folder: Path, environ: dict[str, str], stack: ExitStack) -> None:
        authority = Authority(folder)
        self.trust = authority.client()
        self._project = folder / "project"
        self._environ = environ
        _start_project(self._project, environ)
        _build(self._project, OLD, environ)
        self.machines = {name: Machine(name, folder, environ) for name in "abc"}
        for machine in self.machines.values():
            machine.install(self._project)
            machine.start()
            stack.callback(machine.pull_the_plug)
        pair = authority.issue(guides.SITE)
        ports = {name: free_port() for name in ("0.0.0.0:443", "0.0.0.0:80")}
        here = {f"{LIVE}fullchain.pem": pair["certificate"], f"{LIVE}privkey.pem": pair["key"]}
        here |= {old: f"127.0.0.1:{port}" for old, port in ports.items()}
        here |= {"/var/lib/limpet/acme": str(folder)}
        for number, machine in enumerate(self.machines.values(), 11):
            here[f"10.0.0.{number}:8000"] = "{}:{}".format(*machine.where)
            machine.server.until_it_listens()
        file = folder / "limpet.toml"
        file.write_text(guides.replaced(GUIDE.block("[[listeners]]"), here))
        self.limpet = limpet("up", str(file), listen=None)
        self.at = guides.served_at(self.limpet)

    def build(self, style: str) -> Path:
        """Make a new release, and return where it is."""
        _build(self._project, style, self._environ)
        return self._project

    def browser(self) -> httpx.Client:
        return guides.browser([self.at], self.trust)

    def home_of(self, client: httpx.Client) -> str:
        """Return the server that makes a user's pages, as `limpet explain` says it."""
        answer = client.get("/admin/")
        told = self.command(f"limpet explain {answer.headers['x-request-id']}")
        found = re.search("target +shop/([abc]):", told)
        assert found is not None, told
        return found[1]

    def command(self, line: str) -> str:
        """Run a `limpet` command of the guide."""
        done = self.limpet.command(*shlex.split(line)[1:])
        assert done.returncode == 0, done.stderr
        return done.stdout


@pytest.fixture(scope="module")
def site(limpet, tmp_path_factory):
    folder = tmp_path_factory.mktemp("site")
    with ExitStack() as stack:
        store = stack.enter_context(valkey(folder / "valkey", **SOUND))
        lines = guides.replaced(GUIDE.block("# /etc/shop.env"), {"10.0.0.20:6379": f"127.0.0.1:{store.port}"})
        environ = dict(line.split("=", 1) for line in lines.splitlines() if not line.startswith("#"))
        yield Site(limpet, folder, {"PATH": guides.PATH, "HOME": str(folder), **environ}, stack)


def form_token(page: str) -> str:
    found = re.search(r'name="csrfmiddlewaretoken" value="(\w+)"', page)
    assert found is not None, page
    return found[1]


def log_in(client: httpx.Client, origin: dict[str, str] = ORIGIN) -> httpx.Response:
    fields = {"username": "ann", "password": "a password of ann"}
    fields["csrfmiddlewaretoken"] = form_token(client.get("/admin/login/").text)
    return client.post("/admin/login/?next=/admin/", data=fields, headers=origin)


def is_in(client: httpx.Client) -> bool:
    answer = client.get("/admin/")
    assert answer.status_code == 200, (answer, answer.headers)
    return "ann" in answer.text


def test_the_first_login(site) -> None:
    with site.browser() as client:
        answer = client.get("http://shop.example/admin/?next=1")
        assert answer.status_code == 308
        assert answer.headers["location"].startswith("https://shop.example")
        assert answer.headers["location"].endswith("/admin/?next=1")
        assert log_in(client, {"Origin": "https://evil.example"}).status_code == 403
        answer = log_in(client)
        assert (answer.status_code, answer.headers["location"]) == (302, "/admin/")
        assert "Secure" in answer.headers["set-cookie"]
        page = client.get("/admin/").text
        style = re.search(r'href="(/static/admin/css/base\.\w+\.css)"', page)
        assert style is not None
        assert client.get(style[1]).status_code == 200
        assert client.get("/admin/", headers={"Host": "evil.example"}).status_code == 400


def test_a_server_that_dies_takes_no_login_along(site) -> None:
    with site.browser() as client:
        log_in(client)
        machine = site.machines[site.home_of(client)]
        machine.server.kill()
        try:
            assert all(is_in(client) for _ in range(6))
            with site.browser() as another:
                assert log_in(another).status_code == 302
        finally:
            machine.start()
            machine.server.until_it_listens()


def test_a_deployment_logs_nobody_out(site) -> None:
    with ExitStack() as stack:
        users = [stack.enter_context(site.browser()) for _ in range(3)]
        for client in users:
            log_in(client)
        old_page = users[0].get("/").text
        release = site.build(NEW)
        drain, deploy, reload = GUIDE.commands("drain a")
        for number, (name, machine) in enumerate(site.machines.items(), 11):
            assert f"{name}: drained" in site.command(drain.replace(" a ", f" {name} "))
            assert all(is_whole(client) for client in users)
            assert deploy == "ssh 10.0.0.11 /srv/shop/deploy"  # which is this, on each of them
            assert f"10.0.0.{number}" in GUIDE.block("[[listeners]]")
            machine.server.stop()
            machine.install(release)
            machine.start()
            machine.server.until_it_listens()
            site.command(reload)
            with site.browser() as visitor:
                log_in(visitor)
                assert is_whole(visitor)
            assert all(is_whole(client) for client in users)
            assert users[0].get(style_of(old_page)).text == OLD
        assert {users[0].get(style_of(client.get("/").text)).text for client in users} == {NEW}


def is_whole(client: httpx.Client) -> bool:
    """Return whether a user is in, and gets a page with its style."""
    style = style_of(client.get("/").text)
    return is_in(client) and client.get(style).text in {OLD, NEW}


def style_of(page: str) -> str:
    found = re.search(r'href="(/static/style\.\w+\.css)"', page)
    assert found is not None, page
    return found[1]

"""What runs beside the app in a replica."""

from __future__ import annotations

import datetime as dt
import json
import subprocess
import sys
import types

import flask
import pytest
from starlette.applications import Starlette
from starlette.middleware.sessions import SessionMiddleware

from limpet.doctor.rehearsal.inside.memory import containers
from limpet.doctor.rehearsal.inside.orders import Orders, read_orders
from limpet.doctor.rehearsal.inside.secrets_of import secrets_of


@pytest.fixture(autouse=True)
def no_django(monkeypatch: pytest.MonkeyPatch) -> None:
    """Hide the Django that other tests of this process have set up: it would be taken for the app's."""
    for name in ("django.conf", "django.core.cache.backends.locmem"):
        monkeypatch.delitem(sys.modules, name, raising=False)


READ_CLOCKS = """
import datetime, json, time
from limpet.doctor.rehearsal.inside.clock import Clock
machine = time.time()
clock = Clock()
clock.install()
from time import time as early
from datetime import datetime as kind
clock.offset_s = 86400 * 40
print(json.dumps([
    early() - machine,
    time.time_ns() / 1e9 - machine,
    time.clock_gettime(time.CLOCK_REALTIME) - machine,
    kind.now().timestamp() - machine,
    kind.now(datetime.UTC).timestamp() - machine,
    time.mktime(time.localtime()) - machine,
    time.mktime(time.strptime(time.ctime())) - machine,
    (datetime.date.today() - datetime.date.fromtimestamp(machine)).days * 86400,
    time.monotonic() < 86400 * 40 + time.perf_counter(),
    type(kind.now()) is kind,
]))
"""


def test_every_wall_clock_of_python_can_be_set() -> None:
    out = subprocess.run([sys.executable, "-c", READ_CLOCKS], capture_output=True, check=True).stdout
    *offsets, is_monotonic, is_datetime = json.loads(out)
    assert is_monotonic
    assert is_datetime
    assert all(abs(each - 86400 * 40) < 2 * 3600 + 120 for each in offsets), offsets
    assert dt.datetime.now(dt.UTC).year < 2100  # this process's clock is as it was


def hashes(app, *modules, key=b"k" * 16):
    return secrets_of(app, modules, key)


def test_secrets_are_found_where_frameworks_keep_them_and_only_hashes_are_told() -> None:
    app = flask.Flask("x")
    app.secret_key = "correct horse"
    mine = hashes(app)
    assert list(mine) == ["Flask.secret_key"]
    assert "correct" not in str(mine)
    app.wsgi_app = type("Fix", (), {"__init__": lambda self, app: setattr(self, "app", app)})(app.wsgi_app)
    assert hashes(app.wsgi_app) == mine
    app.secret_key = "battery staple"
    assert hashes(app) != mine
    assert hashes(app, key=b"j" * 16) != hashes(app)


def test_secrets_of_middleware_and_modules() -> None:
    app = Starlette()
    app.add_middleware(SessionMiddleware, secret_key="correct horse")
    assert list(hashes(app)) == ["SessionMiddleware.secret_key"]
    assert "SessionMiddleware.secret_key" in hashes(SessionMiddleware(Starlette(), "correct horse"))
    module = types.ModuleType("mine")
    module.JWT_SECRET, module.PAGE_TITLE, module.SECRETS = "correct horse", "title", 5
    assert list(hashes(None, module)) == ["mine.JWT_SECRET"]


def test_containers_of_modules_and_objects_are_counted() -> None:
    module = types.ModuleType("mine")
    store = type("Store", (), {})()
    store.rows = {1: 2, 3: 4}
    module.logins, module.store, module.os = {"a": 1}, store, types
    assert containers(None, [module]) == {"mine:logins": 1, "mine:store.rows": 2}


def test_orders_need_the_token() -> None:
    orders = Orders(delay_s=1.5, is_plain=True)
    assert read_orders(orders.header("t"), "t") == orders
    assert read_orders(orders.header("t"), "other") is None
    assert read_orders("", "") is None

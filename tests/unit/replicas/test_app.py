from __future__ import annotations

import functools
from pathlib import Path

import fastapi
import flask
import pytest
from starlette.applications import Starlette

from limpet.replicas.app import AppError, detect_interface, load_app


async def asgi_function(scope, receive, send): ...
async def asgi_with_any_arguments(*arguments): ...
def asgi_without_async(scope, receive, send): ...
def wsgi_function(environ, start_response): ...
def wsgi_with_options(environ, start_response, *, option=1): ...
def factory(): ...
def one(request): ...
def anything(*arguments): ...


class AsgiInstance:
    async def __call__(self, scope, receive, send): ...


class WsgiInstance:
    def __call__(self, environ, start_response): ...


class SetPerInstance:
    """As error trackers wrap apps: the class does not say what an instance takes."""

    __slots__ = ("__call__",)

    def __init__(self) -> None:
        self.__call__ = self._run

    async def _run(self, scope, receive, send): ...


class WithMethod:
    def handle(self, environ, start_response): ...


def extra(option, environ, start_response): ...


@pytest.mark.parametrize(
    ("app", "interface"),
    [
        (asgi_function, "asgi"),
        (asgi_with_any_arguments, "asgi"),
        (asgi_without_async, "asgi"),
        (AsgiInstance(), "asgi"),
        (SetPerInstance(), "asgi"),
        (functools.partial(asgi_function), "asgi"),
        (fastapi.FastAPI(), "asgi"),
        (Starlette(), "asgi"),
        (wsgi_function, "wsgi"),
        (wsgi_with_options, "wsgi"),
        (WsgiInstance(), "wsgi"),
        (WithMethod().handle, "wsgi"),
        (functools.partial(extra, 1), "wsgi"),
        (flask.Flask("x"), "wsgi"),
    ],
)
def test_the_kind_of_app_is_detected(app: object, interface: str) -> None:
    assert detect_interface(app, "m:app") == interface


@pytest.mark.parametrize(
    ("app", "what", "advice"),
    [
        (3, "is a int, not an app", "name a callable"),
        (factory, "cannot be called with a request", "write m:app()"),
        (AsgiInstance, "cannot be called with a request", "write m:app()"),
        (one, "may be ASGI or WSGI", "--interface"),
        (anything, "may be ASGI or WSGI", "--interface"),
    ],
)
def test_what_is_not_clear_is_said_with_advice(app: object, what: str, advice: str) -> None:
    with pytest.raises(AppError) as caught:
        detect_interface(app, "m:app")
    assert what in str(caught.value)
    assert advice in str(caught.value)


MODULE = """
class Box: ...
box = Box()
async def app(scope, receive, send): ...
box.app = app
class Web:
    async def __call__(self, scope, receive, send): ...
web = Web()
def make(): return app
def make_with(name): return app
def fail(): raise RuntimeError('no database')
"""


@pytest.fixture
def module(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    name = f"app_of_{tmp_path.name.replace('-', '_')}"
    (tmp_path / f"{name}.py").write_text(MODULE)
    (tmp_path / f"{name}_broken.py").write_text("import nowhere_to_be_found\n")
    (tmp_path / f"{name}_invalid.py").write_text("def app(:\n")
    monkeypatch.syspath_prepend(tmp_path)
    return name


@pytest.mark.parametrize("attribute", ["app", "box.app", "make()"])
def test_an_app_is_found_by_its_import_string(module: str, attribute: str) -> None:
    assert load_app(f"{module}:{attribute}").__name__ == "app"


@pytest.mark.parametrize(
    ("import_string", "what"),
    [
        ("{}", "names no app; write MODULE:APP"),
        ("{}:", "names no app; write MODULE:APP"),
        (":app", "names no app; write MODULE:APP"),
        ("./examples/{}.py:app", "write examples.{}:app"),
        ("{}_not_there:app", "there is no module '{}_not_there'"),
        ("{}_not_there.inner:app", "there is no module '{}_not_there'"),
        ("{}:wep", "module '{}' has no 'wep'; it has 'app', 'web'"),
        ("{}:box.wep", "module '{}' has no 'box.wep'; it has 'app'"),
        ("{}:box()", "calls a Box; leave out the ()"),
        ("{}:make_with()", "missing 1 required positional argument"),
        ("{}:fail()", "RuntimeError: no database"),
        ("{}_broken:app", "No module named 'nowhere_to_be_found'"),
        ("{}_invalid:app", "SyntaxError"),
    ],
)
def test_an_app_that_cannot_be_loaded_is_explained(module: str, import_string: str, what: str) -> None:
    with pytest.raises(AppError) as caught:
        load_app(import_string.format(module))
    assert what.format(module) in str(caught.value)


def test_a_misspelt_app_beside_flasks_own_objects_is_explained(monkeypatch: pytest.MonkeyPatch) -> None:
    # `from flask import request` puts an object into the module that answers nothing outside a request.
    monkeypatch.syspath_prepend(str(Path(__file__).parents[3] / "examples"))
    with pytest.raises(AppError, match=r"has no 'application'; it has 'app'"):
        load_app("flask_memory:application")

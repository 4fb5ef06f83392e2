"""What docs/sessions/flask.md shows is run."""

from __future__ import annotations

import re
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import flask
import pytest

from limpet.sessions import LoginNotFreshError

PAGE = Path(__file__).parents[3] / "docs/sessions/flask.md"
HEADING = re.compile(r"^##+ (.+)$", re.MULTILINE)


def blocks(heading: str) -> list[str]:
    text = PAGE.read_text()
    start = text.index(f"# {heading}\n")
    end = HEADING.search(text, start + len(heading) + 2)
    return re.findall(r"```python\n(.*?)```", text[start : end.start() if end else None], re.DOTALL)


@pytest.fixture
def names(monkeypatch: pytest.MonkeyPatch) -> dict[str, Any]:
    """What the page's code finds: Flask's names, and what an app has of its own."""
    monkeypatch.setenv("LIMPET_SESSION_STORE", "memory://")
    monkeypatch.setenv("LIMPET_SECRET", "a secret for tests that is long enough")
    names: dict[str, Any] = {
        **vars(flask),
        "NEW_SECRET": "a new secret for the tests",
        "OLD_SECRET": "an old secret for the tests",
        "check_password": lambda form: SimpleNamespace(id=form["user"], theme="dark"),
        "render_template": lambda name, **values: f"{name} {values}",
    }
    run(blocks("Switch it on")[0], names)
    names["app"].testing = True
    return names


def run(code: str, names: dict[str, Any]) -> None:
    exec(compile(code, str(PAGE), "exec"), names)


def test_login_devices_and_everywhere(names: dict[str, Any]) -> None:
    run(blocks("Without")[0], names)
    run(blocks("Devices, and log out everywhere")[0], names)
    app, limpet = names["app"], names["limpet"]
    laptop, phone = app.test_client(), app.test_client()
    for client in (laptop, phone):
        client.post("/login", data={"user": "ann"})
        assert client.get("/").text == "Hello ann"
    with phone:
        phone.get("/")
        mine = flask.session.reference  # type: ignore[attr-defined]
    assert mine in phone.get("/devices").text
    laptop.post(f"/devices/{mine}/end")
    assert phone.get("/").text == "Hello None"
    assert len(limpet.sessions.list_user("ann")) == 1
    phone.post("/login", data={"user": "ann"})
    laptop.post("/log-out-everywhere")
    assert [client.get("/").text for client in (laptop, phone)] == ["Hello None"] * 2
    laptop.post("/login", data={"user": "ann"})
    laptop.post("/logout")
    assert laptop.get("/").text == "Hello None"
    assert laptop.get_cookie("session") is None


def test_the_rest(names: dict[str, Any]) -> None:
    run(blocks("When the store does not answer")[0], names)
    run(blocks("Switch it on")[2].replace("app.config.from_object", "str"), names)
    names["create_app"]()
    run(blocks("Switch it on")[1].replace("valkey://10.0.0.5", "memory://"), names)
    run("import pytest\n" + blocks("Tests")[0], names)
    assert LoginNotFreshError.__name__ in PAGE.read_text()

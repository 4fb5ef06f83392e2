"""What is read in an app's source, line by line."""

from __future__ import annotations

import pytest

from limpet.doctor.rehearsal.source import line_of, read_source


def kinds(text: str) -> list[tuple[str, int]]:
    return [(fact.kind, fact.line) for fact in read_source("app.py", text)]


@pytest.mark.parametrize(
    "text",
    [
        "app.secret_key = os.urandom(24)",
        "app.config['SECRET_KEY'] = secrets.token_hex()",
        "SECRET_KEY = get_random_secret_key()",
        "app.add_middleware(SessionMiddleware, secret_key=uuid.uuid4().hex)",
        "settings.configure(DEBUG=True, SECRET_KEY=secrets.token_urlsafe())",
        "app.config.update({'JWT_SECRET_KEY': str(random.random())})",
        "SECRET_KEY = os.environ.get('SECRET_KEY') or secrets.token_hex()",
        "key = Fernet.generate_key()\napp.secret_key = key",
    ],
)
def test_a_secret_that_every_process_makes(text: str) -> None:
    assert ("secret_made_at_import", 1) in kinds(text)


@pytest.mark.parametrize(
    "text", ["app.secret_key = os.environ['SECRET_KEY']", "SECRET_KEY = 'x'", "sid = secrets.token_hex()"]
)
def test_other_values_are_no_such_secret(text: str) -> None:
    assert "secret_made_at_import" not in [kind for kind, _ in kinds(text)]


def test_memory_that_requests_fill() -> None:
    text = (
        "logins: dict = {}\nnames = set()\nFIXED = {'a': 1}\ndef f(x):\n    logins[x] = 1\n    names.add(x)\n"
    )
    assert kinds(text) == [("memory_state", 1), ("memory_state", 2)]


def test_cookies_and_logouts() -> None:
    text = "r.set_cookie('sid', v)\nSESSION_COOKIE_SAMESITE = 'Strict'\n@app.route('/logout')\ndef f(): ...\n"
    assert kinds(text) == [("cookie_flags", 1), ("cookie_flags", 2), ("logout_route", 3)]


def test_what_is_no_python_has_no_facts() -> None:
    assert read_source("x.py", "def (") == ()
    assert line_of("a = 1\nb: dict = {}\n", "b") == 2
    assert line_of("a = 1", "b") is None

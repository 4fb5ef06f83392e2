"""`limpet sessions` on a store in a file: who is found, who is out afterwards, and the exit codes."""

from __future__ import annotations

import json
import sqlite3
import time
from contextlib import closing
from typing import TYPE_CHECKING, Any
from uuid import UUID

import pytest
from click.testing import CliRunner, Result

from limpet.cli import main
from limpet.sessions import Sessions

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

SECRET = "a secret for tests that is long enough"
UUID_TEXT = "12345678-1234-5678-1234-567812345678"


@pytest.fixture
def app(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Sessions]:
    """The sessions of an app; commands find store and secret in the environment, as it does."""
    url = f"sqlite:///{tmp_path}/sessions.db"
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "state"))
    monkeypatch.setenv("LIMPET_SESSION_STORE", url)
    monkeypatch.setenv("LIMPET_SECRET", SECRET)
    sessions = Sessions(deadline_s=10)
    sessions.store.check()  # makes the file
    yield sessions
    sessions.store.close()


def log_in(app: Sessions, user: Any, **options: Any) -> str:
    session = app.open(None, address="192.0.2.1", user_agent="Firefox")
    session.login(user, **options)
    return dict(app.save(session))["Set-Cookie"].partition(";")[0].partition("=")[2]


def is_in(app: Sessions, cookie: str) -> bool:
    return app.open(cookie).user_id is not None


def invoke(*arguments: str) -> Result:
    return CliRunner().invoke(main, ["sessions", *arguments])


def listed(user: str) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = json.loads(invoke("list", "--json", "--", user).stdout)["sessions"]
    return found


def test_a_list_shows_every_device(app: Sessions) -> None:
    log_in(app, "ann", device="[red]phone[/red]")
    log_in(app, "ann")
    log_in(app, "bob")
    result = invoke("list", "ann")
    assert result.exit_code == 0
    head, *rows = result.output.splitlines()
    assert head.split("  ")[0] == "reference"
    assert len(rows) == 2
    assert all("192.0.2.1" in row and row.rstrip().endswith("Z") for row in rows)
    assert {"[red]phone[/red]", "Firefox"} == {each["device"] for each in listed("ann")}
    assert "[red]phone[/red]" in result.output


def test_a_list_as_json_has_the_times_of_the_session(app: Sessions) -> None:
    log_in(app, "ann")
    (each,) = listed("ann")
    assert each["auth_s"] == each["created_s"] == pytest.approx(time.time(), abs=60)
    assert each["seen_s"] < each["ends_s"]
    assert each["reference"] in invoke("list", "ann").output


@pytest.mark.parametrize(
    ("text", "ids"),
    [
        ("42", [42, "42"]),
        ("-7", [-7, "-7"]),
        ("042", ["042"]),
        (UUID_TEXT, [UUID(UUID_TEXT), UUID_TEXT]),
        (str(2**80), [2**80, str(2**80)]),
        ("ann@example.org", ["ann@example.org"]),
    ],
)
def test_a_user_is_found_and_revoked_whatever_the_type_of_the_id(
    app: Sessions, text: str, ids: list[Any]
) -> None:
    cookies = [log_in(app, id_) for id_ in ids]
    other = log_in(app, 43)
    assert len(listed(text)) == len(ids)
    result = invoke("revoke", f"--user={text}")
    assert result.output == f"{text}: {len(ids)} session{'s' if len(ids) > 1 else ''} ended\n"
    assert result.exit_code == 0
    assert not any(is_in(app, cookie) for cookie in cookies)
    assert is_in(app, other)


def test_one_session_is_ended_by_its_reference(app: Sessions) -> None:
    cookies = {log_in(app, "ann", device=name): name for name in ("phone", "laptop")}
    (reference,) = [each["reference"] for each in listed("ann") if each["device"] == "phone"]
    assert invoke("revoke", "--session", reference).output == f"{reference}: ended\n"
    assert {name: is_in(app, cookie) for cookie, name in cookies.items()} == {"phone": False, "laptop": True}
    assert invoke("revoke", "--session", reference).exit_code == 1


def test_everyone_is_out_only_if_one_is_sure(app: Sessions) -> None:
    cookies = [log_in(app, user) for user in ("ann", 42)]
    result = invoke("revoke", "--everyone")
    assert result.exit_code == 2
    assert "add --yes" in result.stderr
    assert all(is_in(app, cookie) for cookie in cookies)
    result = invoke("revoke", "--everyone", "--yes")
    assert (result.exit_code, result.output) == (0, "every session of every user ended\n")
    assert not any(is_in(app, cookie) for cookie in cookies)


@pytest.mark.parametrize(("answer", "code"), [("y", 0), ("n", 1), ("", 1)])
def test_a_terminal_is_asked(app: Sessions, monkeypatch: pytest.MonkeyPatch, answer: str, code: int) -> None:
    cookie = log_in(app, "ann")
    monkeypatch.setattr("click.testing._NamedTextIOWrapper.isatty", lambda _: True, raising=False)
    result = CliRunner().invoke(main, ["sessions", "revoke", "--everyone"], input=f"{answer}\n")
    assert result.exit_code == code
    assert is_in(app, cookie) == (code == 1)


def test_nobody_there_is_exit_code_1(app: Sessions) -> None:
    log_in(app, "ann")
    for arguments in (["list", "bob"], ["list", "bob", "--json"], ["revoke", "--user", "bob"]):
        result = invoke(*arguments)
        assert result.exit_code == 1
        assert "user 'bob' has no session in this store" in result.stderr
    assert listed("bob") == []
    for reference in ("x", "-", "0" * 32 + "-" + "0" * 16):
        assert invoke("revoke", f"--session={reference}").exit_code == 1


def test_older_secrets_find_their_sessions(app: Sessions, tmp_path: Path) -> None:
    cookie = log_in(app, "ann")
    file = tmp_path / "secrets"
    file.write_text(f"a newer secret that is long enough\n{SECRET}\n")
    assert invoke("revoke", "--user", "ann", "--secret-file", str(file)).exit_code == 0
    assert not is_in(app, cookie)


def test_another_secret_finds_nobody(app: Sessions, tmp_path: Path) -> None:
    log_in(app, "ann")
    file = tmp_path / "secrets"
    file.write_text("the secret of another app")
    assert invoke("list", "ann", "--secret-file", str(file)).exit_code == 1


def test_the_secret_that_serve_made_is_found(
    app: Sessions, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    log_in(app, "ann")
    monkeypatch.delenv("LIMPET_SECRET")
    (tmp_path / "state" / "limpet").mkdir(parents=True)
    (tmp_path / "state" / "limpet" / "session-secret").write_text(f"{SECRET}\n")
    assert len(listed("ann")) == 1


@pytest.fixture
def kept(app: Sessions, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A secret that an earlier serve made, where the app has another one in its code."""
    monkeypatch.delenv("LIMPET_SECRET")
    path = tmp_path / "state" / "limpet" / "session-secret"
    path.parent.mkdir(parents=True)
    path.write_text("the secret that serve has made")
    return path


def test_the_secret_that_serve_keeps_is_told_and_promises_nothing(app: Sessions, kept: Path) -> None:
    cookie = log_in(app, "ann")
    for arguments in (["list", "ann"], ["revoke", "--user", "ann"]):
        result = invoke(*arguments)
        assert result.exit_code == 1
        assert f"the secret is the one that serve keeps in {kept}" in result.stderr
        assert "needs --secret-file or LIMPET_SECRET" in result.stderr
        assert "user 'ann' has no session that was signed with this secret" in result.stderr
        assert "would be over now" not in result.output
    assert is_in(app, cookie)


def test_another_secret_than_the_apps_is_told(app: Sessions, kept: Path) -> None:
    cookie = log_in(app, "ann")
    app.tell_findings()  # as at the first request of a process
    app.close()
    for arguments in (["list", "ann"], ["revoke", "--user", "ann"], ["revoke", "--session", "0-0"]):
        for secret in ([], ["--secret-file", str(kept)]):
            result = invoke(*arguments, *secret)
            assert result.exit_code == 2
            (id_,) = app.ring.ids
            assert f"are signed with another secret (1 id {id_}); give that one with" in result.stderr
            assert "would be over now" not in result.output
    assert is_in(app, cookie)
    kept.write_text(f"a newer one that nobody uses yet\n{SECRET}\n")
    assert "would be over now" not in invoke("revoke", "--user", "bob").stderr
    assert invoke("revoke", "--user", "bob", "--secret-file", str(kept)).exit_code == 1
    assert invoke("revoke", "--user", "ann", "--secret-file", str(kept)).exit_code == 0
    assert not is_in(app, cookie)


def test_a_login_of_which_nobody_knows_the_time(app: Sessions) -> None:
    log_in(app, "ann")
    (known,) = app.list_user("ann")
    unknown = known._replace(auth_s=0.0)
    app.list_user = lambda _: [unknown]  # type: ignore[method-assign]
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("limpet.cli.sessions.Sessions", lambda *_, **__: app)
        assert "  unknown  " in invoke("list", "ann").output
        assert listed("ann")[0]["auth_s"] is None


def test_a_database_of_something_else_is_told_and_stays_as_it_is(app: Sessions, tmp_path: Path) -> None:
    path = tmp_path / "other.db"
    with closing(sqlite3.connect(path)) as other, other:
        other.execute("CREATE TABLE orders (id INTEGER)")
    before = path.read_bytes()
    for arguments in (["check"], ["list", "ann"], ["revoke", "--user", "ann"]):
        result = invoke(*arguments, "--store", f"sqlite:///{path}")
        assert result.exit_code == 2
        assert f"there are no limpet sessions in the file '{path}'" in result.stderr
    assert path.read_bytes() == before


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["list"], "Missing argument 'USER'"),
        (["revoke"], "one of --user USER, --session REF and --everyone"),
        (["revoke", "--user", "ann", "--everyone"], "one of --user USER, --session REF and --everyone"),
        (["list", "ann", "--store", "best://x"], "'best' is no kind of store"),
        (["list", "ann", "--store", "foo"], "'foo' is no kind of store; write one of memory, sqlite"),
        (["list", "ann", "--store", "memory"], "'memory' is no kind of store; write memory://"),
        (["list", "ann", "--store", "/tmp/s.db"], "for the file write sqlite:////tmp/s.db"),
        (["check", "--store", "redis://u:secret@localhost:99999"], "the port of this redis:// URL makes no"),
        (["check", "--store", "memcached://localhost:99999"], "the port of this memcached:// URL makes no"),
        (["check", "--store", "redis://[::1"], "the port of this redis:// URL makes no sense"),
        (["list", "ann", "--store", "memory://"], "memory:// is within the app's process"),
        (["list", "ann", "--store", "sqlite:///nowhere.db"], "there is no file 'nowhere.db'"),
        (["list", "ann", "--store", "sqlite://"], "names no file"),
        (["list", "ann", "--secret-file", "nowhere"], "'nowhere' cannot be read"),
        (["list", "ann", "--secret", "x"], "No such option"),
    ],
)
def test_mistakes_are_told_with_exit_code_2(app: Sessions, arguments: list[str], message: str) -> None:
    result = invoke(*arguments)
    assert result.exit_code == 2
    assert message in " ".join(result.stderr.split())
    assert result.stdout == ""
    assert "u:secret" not in result.stderr


def test_no_store_and_no_secret_are_mistakes(app: Sessions, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("LIMPET_SECRET")
    assert "there is none; give the app's in LIMPET_SECRET" in invoke("list", "ann").stderr
    monkeypatch.setenv("LIMPET_SECRET", "short")
    assert "LIMPET_SECRET: a session secret needs at least 16 characters" in invoke("list", "ann").stderr
    monkeypatch.setenv("LIMPET_SECRET", SECRET)
    monkeypatch.delenv("LIMPET_SESSION_STORE")
    for arguments in (["list", "ann"], ["revoke", "--user", "ann"], ["check"]):
        result = invoke(*arguments)
        assert result.exit_code == 2
        assert "there is no store; name the app's with LIMPET_SESSION_STORE or --store URL" in result.stderr


def test_a_store_that_does_not_answer_is_exit_code_4(app: Sessions, tmp_path: Path) -> None:
    (tmp_path / "no.db").write_bytes(b"this is no database" * 100)
    for arguments in (["list", "ann"], ["revoke", "--user", "ann"], ["revoke", "--everyone", "--yes"]):
        result = invoke(*arguments, "--store", f"sqlite:///{tmp_path}/no.db")
        assert result.exit_code == 4
        assert "the session store does not say: " in result.stderr


def test_check_of_a_sound_store_and_of_one_that_is_not(app: Sessions, tmp_path: Path) -> None:
    result = invoke("check")
    assert (result.exit_code, result.output) == (0, "nothing about this store will log users out\n")
    assert json.loads(invoke("check", "--json").stdout) == {"findings": []}
    (tmp_path / "no.db").write_bytes(b"this is no database" * 100)
    url = f"sqlite:///{tmp_path}/no.db"
    result = invoke("check", "--store", url)
    assert result.exit_code == 1
    assert result.output.startswith("S201 error: ")
    (finding,) = json.loads(invoke("check", "--json", "--store", url).stdout)["findings"]
    assert finding.keys() == {"id", "severity", "what", "fix"}


def test_memcached_says_what_to_do_instead(app: Sessions) -> None:
    result = invoke("revoke", "--everyone", "--yes", "--store", "memcached://127.0.0.1:1")
    assert result.exit_code == 1
    assert "replace every secret in LIMPET_SECRET instead" in result.stderr


def test_no_command_takes_a_secret_on_its_command_line() -> None:
    for command in ("list", "revoke", "check"):
        assert "--secret " not in invoke(command, "--help").output
    assert "LIMPET_SECRET" in invoke("list", "--help").output

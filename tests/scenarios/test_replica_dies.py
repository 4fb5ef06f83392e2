"""A replica dies: its users are out once, because the app kept them in memory; nobody else notices."""

from __future__ import annotations

import json
import os
import re
import signal
from contextlib import ExitStack

import httpx
import pytest

APPS = ["examples.flask_memory:app", "examples.fastapi_memory:app"]


def browser(url: str, name: str) -> httpx.Client:
    return httpx.Client(base_url=url, follow_redirects=True, headers={"User-Agent": f"Mozilla/5.0 ({name})"})


def where(page: httpx.Response) -> tuple[str, int]:
    """Return the letter and the process id of the replica that made a page."""
    found = re.search("This is replica ([A-Z]+), process ([0-9]+)", page.text)
    assert found is not None
    return found[1], int(found[2])


@pytest.mark.parametrize("app", APPS)
def test_a_killed_replica(app: str, limpet) -> None:
    running = limpet("serve", app, "--replicas", "3", "--access-log-format", "json")
    names = [f"user{number}" for number in range(6)]
    with ExitStack() as stack:
        users = {name: stack.enter_context(browser(running.url, name)) for name in names}
        homes = {name: where(user.post("/login", data={"name": name})) for name, user in users.items()}
        victim, pid = homes["user0"]
        os.kill(pid, signal.SIGKILL)
        running.line(rf"^{victim} \| limpet: was ended by SIGKILL; starts again in 0.5 s$")

        pages = {name: user.get("/") for name, user in users.items()}
        for name, page in pages.items():
            assert page.status_code == 200
            if homes[name][0] == victim:
                assert "You are logged out" in page.text
                assert where(page) != (victim, pid)  # a busy machine may have its successor up by now
            else:
                assert f"Hello {name}" in page.text
                assert where(page) == homes[name]
        moved = pages["user0"].headers["X-Request-Id"]
        record = json.loads(running.line(re.escape(f'"request_id": "{moved}"')).string)
        if where(pages["user0"])[0] != victim:
            assert record["target"] != victim
            assert record["sticky_status"] == "target_unavailable"

        running.line(rf"^{victim} \| limpet: ready again, process [0-9]+$")
        for name, user in users.items():
            if homes[name][0] == victim:
                homes[name] = where(user.post("/login", data={"name": name}))
            for _ in range(4):
                page = user.get("/")
                assert f"Hello {name}" in page.text
                assert where(page) == homes[name]
    assert running.end() == 0


def test_a_replica_that_dies_again_and_again_is_started_less_and_less_often(limpet, tmp_path) -> None:
    (tmp_path / "weak.py").write_text(
        "import asyncio, os\n"
        "async def app(scope, receive, send):\n"
        "    if scope['type'] == 'http':\n"
        "        await send({'type': 'http.response.start', 'status': 200, 'headers': []})\n"
        "        await send({'type': 'http.response.body', 'body': b'ok'})\n"
        "        if os.environ['LIMPET_REPLICA'] == 'B':\n"
        "            asyncio.get_running_loop().call_later(0.05, os._exit, 7)\n"  # a health check is enough
    )
    running = limpet("serve", "weak:app", "--replicas", "2", folder=tmp_path)
    for wait_s in ("0.5", "1", "2"):
        running.line(rf"^B \| limpet: ended with exit code 7; starts again in {wait_s} s$")
        assert httpx.get(running.url).text == "ok"
    assert running.end() == 0
    assert not [line for line in running.lines if line.startswith("A |")]

"""What the dashboard is told, how often, and who may ask."""

import asyncio
import json

import pytest

from limpet.control.admin.api import ROUTES
from limpet.control.dashboard import feed
from limpet.control.dashboard.feed import MAX_WATCHERS
from limpet.control.dashboard.pages import PATHS

TOKEN = "0123456789abcdef0123"


async def start(ground, *names, **more):
    for name in names:
        await ground.server(name)
    await ground.start(ground.group(*names), **more)


class Watcher:
    """A connection that reads the feed."""

    async def open(self, ground):
        self.reader, self.writer = await asyncio.open_connection("127.0.0.1", ground.admin.bound.port)
        self.writer.write(b"GET /events HTTP/1.1\r\nHost: localhost\r\n\r\n")
        self.head = await self.reader.readuntil(b"\r\n\r\n")
        return self

    async def frame(self):
        data = await self.text()
        return json.loads(data.removeprefix("data: "))

    async def text(self):
        async with asyncio.timeout(30):
            size = int(await self.reader.readline(), 16)
            data = await self.reader.readexactly(size + 2)
        return data.decode().strip()

    async def end(self):
        async with asyncio.timeout(30):
            return await self.reader.read()

    def close(self):
        self.writer.close()


def test_all_watchers_get_the_same_frames_and_nobody_watching_costs_nothing(play):
    async def story(ground):
        await start(ground, "A", "B")
        watched = ground.admin.feed
        first, second = await Watcher().open(ground), await Watcher().open(ground)
        assert b"text/event-stream" in first.head.lower()
        seen = {await first.text() for _ in range(3)}
        made = watched.frames_made
        assert len({await second.text() for _ in range(3)} & seen) >= 2
        assert (watched.watchers, made <= 4) == (2, True)
        first.close()
        await ground.until(lambda: watched.watchers == 1)
        await second.text()
        second.close()
        await ground.until(lambda: watched.watchers == 0 and watched._task is None)
        # Who comes later is shown how it is then.
        later = await Watcher().open(ground)
        assert (await later.frame())["rates"] is None
        later.close()

    play(story)


@pytest.mark.parametrize("workers", [1, 2])
def test_a_frame_says_what_status_says_and_what_was_decided(play, workers, monkeypatch):
    monkeypatch.setattr(feed, "_WINDOW_S", 60.0)  # however slow the machine is

    async def story(ground):
        await start(ground, "A", "B", workers=workers)
        for number in range(8):
            await ground.get(f"/cart?secret={number}")
        watcher = await Watcher().open(ground)
        before = await watcher.frame()
        for _ in range(10):
            await ground.get()
        ground.servers["A"].status = ground.servers["B"].status = 500
        await ground.get("/broken")
        ground.servers["A"].status = ground.servers["B"].status = 200
        while (frame := await watcher.frame())["status"]["requests"] < 19:
            pass
        status = (await ground.call("GET", "/status"))[1]
        watcher.close()
        assert frame["status"]["target_groups"] == status["target_groups"]
        assert before["sticky"]["web"] == {"absent": 8}
        assert frame["rates"]["requests_per_s"] == pytest.approx(11 / frame["rates"]["over_s"], rel=0.02)
        web = frame["rates"]["groups"]["web"]
        assert web["server_errors_per_s"] == pytest.approx(1 / frame["rates"]["over_s"], rel=0.02)
        assert web["response_ms"]["median"] > 0
        assert [row["path"] for row in frame["recent"] if row["is_notable"]] == ["/broken"]
        assert len(frame["recent"]) == 15
        assert "secret" not in json.dumps(before["recent"])
        assert {row["target"] for row in before["recent"]} == {"A", "B"}
        explained = (await ground.call("GET", f"/explain/{before['recent'][0]['request_id']}"))[1]
        assert explained["target"] == before["recent"][0]["target"]

    play(story)


def test_what_is_out_of_the_ordinary_is_shown_beside_what_came_last(play):
    async def story(ground):
        await start(ground, "A", "B")
        ground.servers["A"].status = ground.servers["B"].status = 503
        await ground.get("/old-failure")
        ground.servers["A"].status = ground.servers["B"].status = 200
        for _ in range(40):
            await ground.get("/")
        rows = await ground.balancer.plane.recent(5)
        assert [row["path"] for row in rows] == ["/"] * 5 + ["/old-failure"]

    play(story)


def test_a_feed_whose_frames_are_rare_shows_that_it_lives(play, monkeypatch):
    monkeypatch.setattr(feed, "_PAUSE_S", 3600.0)
    monkeypatch.setattr(feed, "_ALIVE_S", 0.05)

    async def story(ground):
        await start(ground, "A")
        watcher = await Watcher().open(ground)
        await watcher.frame()
        assert (await watcher.text()).startswith(": ")
        assert ground.admin.feed.frames_made == 1
        watcher.close()

    play(story)


def test_the_end_of_the_listener_ends_the_feed(play):
    async def story(ground):
        await start(ground, "A")
        watcher = await Watcher().open(ground)
        await watcher.frame()
        await ground.admin.stop()
        assert (await watcher.end()).endswith(b"0\r\n\r\n")
        watcher.close()

    play(story)


def test_too_many_watchers_are_refused(play):
    async def story(ground):
        await start(ground, "A")
        ground.admin.feed.watchers = MAX_WATCHERS
        status, answer = await ground.call("GET", "/events")
        ground.admin.feed.watchers = 0
        assert (status, str(MAX_WATCHERS) in answer["error"]) == (503, True)

    play(story)


def test_a_read_only_listener_changes_nothing(play):
    async def story(ground):
        await start(ground, "A", "B", admin={"read_only": True})
        before = (await ground.call("GET", "/status"))[1]["target_groups"]
        for call in ROUTES:
            path = call.path.format(group="web", name="A", request_id="x")
            if call.method != "GET":
                status, answer = await ground.call(call.method, path, {"weight": 2, "on": True})
                assert (status, "read_only" in answer["error"]) == (403, True)
        assert (await ground.call("GET", "/status"))[1]["target_groups"] == before
        watcher = await Watcher().open(ground)
        assert (await watcher.frame())["is_read_only"] is True
        watcher.close()

    play(story)


def test_only_the_own_page_may_call(play):
    async def story(ground):
        await start(ground, "A")
        port = ground.admin.bound.port
        own = {"Origin": f"http://127.0.0.1:{port}", "Sec-Fetch-Site": "same-origin"}
        for headers, status in (
            (own, 200),
            ({"Host": "localhost:9999", "Origin": "http://localhost:9999"}, 200),  # through a tunnel
            ({**own, "Origin": f"http://127.0.0.1:{port + 1}"}, 403),
            ({**own, "Origin": "http://evil.example"}, 403),
            ({**own, "Origin": "null"}, 403),
            ({**own, "Sec-Fetch-Site": "same-site"}, 403),
            ({"Host": "evil.example", "Origin": "http://evil.example"}, 403),
        ):
            assert (await ground.call("PUT", "/targets/web/A/weight", {"weight": 2}, **headers))[0] == status

    play(story)


def test_the_page_needs_no_token_and_its_calls_do(play, tmp_path):
    (tmp_path / "token").write_text(TOKEN)

    async def story(ground):
        await start(ground, "A", admin={"token_file": str(tmp_path / "token")})
        for path in PATHS:
            status, body = await ground.call("GET", path, Host="balancer.example")
            assert (status, TOKEN.encode() in body) == (200, False)
        assert (await ground.call("GET", "/events"))[0] == 401
        assert (await ground.call("POST", "/", {}))[0] == 401

    play(story)


@pytest.mark.parametrize(
    ("headers", "status"),
    [
        ({"Sec-Fetch-Site": "cross-site", "Sec-Fetch-Mode": "navigate", "Sec-Fetch-Dest": "document"}, 200),
        ({"Sec-Fetch-Site": "cross-site", "Sec-Fetch-Mode": "navigate", "Sec-Fetch-Dest": "iframe"}, 403),
        ({"Sec-Fetch-Site": "cross-site", "Sec-Fetch-Mode": "no-cors", "Sec-Fetch-Dest": "script"}, 403),
        ({"Host": "evil.example"}, 403),
    ],
)
def test_other_sites_may_link_to_the_page_and_not_use_it(play, headers, status):
    async def story(ground):
        await start(ground, "A")
        assert (await ground.call("GET", "/", **headers))[0] == status
        # A link leads to the page, never to a call.
        assert (await ground.call("GET", "/status", **headers))[0] == 403

    play(story)

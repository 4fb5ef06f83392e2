"""A Service's EndpointSlices are watched, whatever happens to the connection."""

import asyncio

import pytest
from api_server import endpoint, endpoint_slice

from limpet.core.target import Health
from limpet.errors import ConfigError

UNCHECKED = {"enabled": False}


@pytest.fixture
def watch(play, api_server):
    """Run a test's coroutine with an API server that has one slice with the pods a and b."""

    def run(story, **settings):
        async def on_ground(ground):
            await api_server.start()
            api_server.put(endpoint_slice("web-1", endpoint("127.0.0.1", "a"), endpoint("127.0.0.2", "b")))
            discovery = api_server.settings(**settings)
            try:
                await ground.start({"discovery": discovery, "health_check": UNCHECKED})
                await asyncio.wait_for(api_server.watching.wait(), 30)
                await story(ground, api_server)
            finally:
                await api_server.stop()

        play(on_ground)

    return run


def members(ground):
    """The targets that are not draining: (id, address), a `-` before those that terminate."""
    return {
        ("-" if state.target.is_terminating else "") + state.id: str(state.target.address)
        for state in ground.balancer.state.groups["web"].targets.values()
        if state.health is not Health.DRAINING
    }


async def source(ground):
    _, facts = await ground.call("GET", "/status")
    return facts["target_groups"][0]["sources"][0]


BOTH = {"a": "127.0.0.1:8080", "b": "127.0.0.2:8080"}


def test_pods_come_terminate_and_go(watch):
    async def story(ground, api):
        assert members(ground) == BOTH
        api.put(
            endpoint_slice(
                "web-1",
                endpoint("127.0.0.1", "a", ready=False, serving=True, terminating=True),
                endpoint("127.0.0.2", "b"),
                endpoint("127.0.0.3", "c"),
                endpoint("127.0.0.4", "d", ready=False),
            )
        )
        await ground.until(lambda: "c" in members(ground))
        assert members(ground) == {
            "-a": "127.0.0.1:8080",
            "b": "127.0.0.2:8080",
            "c": "127.0.0.3:8080",
        }
        gone = endpoint("127.0.0.1", "a", ready=False, serving=False, terminating=True)
        api.put(endpoint_slice("web-1", gone, endpoint("127.0.0.2", "b")))
        await ground.until(lambda: set(members(ground)) == {"b"})
        found = await source(ground)
        assert (found["source"], found["is_failing"]) == ("kubernetes (own namespace)/web", False)
        assert found["last_success"]

    watch(story)


def test_slices_are_one_list(watch):
    async def story(ground, api):
        moved = endpoint("127.0.0.2", "b")  # to another slice; the first is brought up to date later
        api.put(endpoint_slice("web-2", endpoint("127.0.0.3", "c"), moved, port=9090))
        await ground.until(lambda: len(members(ground)) == 3)
        api.delete("web-1")
        await ground.until(lambda: members(ground) == {"b": "127.0.0.2:9090", "c": "127.0.0.3:9090"})
        api.put(endpoint_slice("web-6", endpoint("::1", "c"), endpoint("::2", "e"), family="IPv6"))
        await ground.until(lambda: len(members(ground)) == 3)
        assert members(ground)["c"] == "127.0.0.3:9090"
        assert members(ground)["e"] == "[::2]:8080"

    watch(story)


def test_a_watch_that_ends_or_breaks_goes_on_where_it_was(watch):
    async def story(ground, api):
        for number, break_off in enumerate((api.end, api.cut)):
            asked = len(api.requests)
            break_off()
            await ground.until(lambda: not api.watching.is_set())
            api.put(endpoint_slice(f"more-{number}", endpoint(f"127.0.1.{number}", f"p{number}")))
            await ground.until(lambda number=number: f"p{number}" in members(ground))
            assert all(query.get("watch") for query, _ in api.requests[asked:])  # nothing was listed again

    watch(story)


def test_after_bookmarks_a_forgotten_history_does_not_matter(watch):
    async def story(ground, api):
        api.bookmark()
        api.compact()
        asked = len(api.requests)
        api.end()
        await ground.until(lambda: not api.watching.is_set())
        api.put(endpoint_slice("web-2", endpoint("127.0.0.3", "c")))
        await ground.until(lambda: "c" in members(ground))
        assert all(query.get("watch") for query, _ in api.requests[asked:])

    watch(story)


def test_a_version_that_is_gone_is_listed_anew(watch):
    async def story(ground, api):
        api.end()
        await ground.until(lambda: not api.watching.is_set())
        api.put(endpoint_slice("web-2", endpoint("127.0.0.3", "c")))
        api.delete("web-1")
        api.compact()
        await ground.until(lambda: set(members(ground)) == {"c"})
        await asyncio.wait_for(api.watching.wait(), 30)
        api.put(endpoint_slice("web-2", endpoint("127.0.0.4", "d")))
        await ground.until(lambda: set(members(ground)) == {"d"})

    watch(story)


def test_half_a_line_changes_nothing(watch):
    async def story(ground, api):
        line = api._line("ADDED", endpoint_slice("web-2", endpoint("127.0.0.3", "c")))
        for place in range(0, len(line) - 10, 10):  # slowly
            api.send(line[place : place + 10])
            await asyncio.sleep(0)
        assert members(ground) == BOTH
        api.cut()
        await ground.until(lambda: any("connection to the API server" in text for text in ground.messages))
        assert members(ground) == BOTH
        await asyncio.wait_for(api.watching.wait(), 30)
        api.send(line[:50])
        api.end()
        await ground.until(lambda: any("answers again" in text for text in ground.messages))
        assert members(ground) == BOTH

    watch(story)


@pytest.mark.parametrize(
    "garbage", [b"<html>\n", b'{"type": "ADDED"}\n', b'{"type": "ADDED", "object": {"a": 1}}\n']
)
def test_what_is_no_event_changes_nothing_and_is_told(watch, garbage):
    async def story(ground, api):
        api.send(garbage)
        await ground.until(lambda: any("cannot be read" in text for text in ground.messages))
        assert members(ground) == BOTH
        await ground.until(lambda: any("answers again" in text for text in ground.messages))

    watch(story)


def test_a_server_that_is_away_changes_nothing_and_is_told_once(watch):
    async def story(ground, api):
        await api.stop()
        await ground.until(lambda: any("2 known targets stay" in text for text in ground.messages))
        await asyncio.sleep(0.6)  # further attempts fail
        assert members(ground) == BOTH
        assert len(ground.messages) == 1
        assert (await source(ground))["is_failing"]
        (api.folder / "token").write_text("token-2")
        await api.start()
        (api.folder / "token").write_text("token-2")
        await ground.until(lambda: len(ground.messages) == 2)
        api.put(endpoint_slice("web-1", endpoint("127.0.0.5", "e")))
        await ground.until(lambda: set(members(ground)) == {"e"})
        assert not (await source(ground))["is_failing"]

    watch(story)


def test_the_token_is_read_again(watch):
    async def story(ground, api):
        assert {token for _, token in api.requests} == {"token-1"}
        (api.folder / "token").write_text("token-2")
        api.end()
        await ground.until(lambda: api.requests[-1][1] == "token-2")

    watch(story)


def test_nobody_who_serves_changes_nothing(watch):
    async def story(ground, api):
        api.put(endpoint_slice("web-1"))
        await ground.until(lambda: ground.messages)
        assert "no endpoint of it serves; 2 known targets stay" in ground.messages[0]
        assert members(ground) == BOTH
        api.delete("web-1")
        api.put(endpoint_slice("web-1", endpoint("127.0.0.5", "e")))
        await ground.until(lambda: set(members(ground)) == {"e"})

    watch(story)


def test_a_refusal_is_told_as_the_server_says_it(play, api_server):
    async def story(ground):
        await api_server.start()
        api_server.refusal = (403, "endpointslices is forbidden: limpet cannot list")
        try:
            await ground.start({"discovery": api_server.settings(), "health_check": UNCHECKED})
            assert "the API server answers 403: endpointslices is forbidden" in ground.messages[0]
            assert (await ground.get())[0] == 503
        finally:
            await api_server.stop()

    play(story)


def test_an_api_server_that_cannot_show_who_it_is_gets_no_token(play, api_server, authority):
    async def story(ground):
        await api_server.start(ssl=authority.server("127.0.0.1"))
        api_server.put(endpoint_slice("web-1", endpoint("127.0.0.1", "a")))
        stranger = type(authority)(ground.tmp_path, "stranger")
        try:
            discovery = api_server.settings(ca_file=str(stranger.path))
            await ground.start({"discovery": discovery, "health_check": UNCHECKED})
            assert "CERTIFICATE_VERIFY_FAILED" in ground.messages[0]
            assert api_server.requests == []
            discovery = api_server.settings(ca_file=str(authority.path))
            ground.data["target_groups"] = {"web": {"discovery": discovery, "health_check": UNCHECKED}}
            await ground.balancer.reload()
            assert members(ground) == {"a": "127.0.0.1:8080"}
            ca = str(ground.tmp_path / "nowhere.pem")
            ground.data["target_groups"]["web"]["discovery"] = api_server.settings(ca_file=ca)
            await ground.balancer.reload()
            assert "cannot be read" in ground.messages[-1]
            assert members(ground) == {"a": "127.0.0.1:8080"}  # settings that do not work empty no group
        finally:
            await api_server.stop()

    play(story)


def test_the_port_is_chosen_by_name(watch):
    async def story(ground, api):
        await ground.until(lambda: ground.messages)
        assert "web-1 has no port 'http'; its ports are ''" in ground.messages[0]
        ports = [{"name": "http", "port": 8000}, {"name": "metrics", "port": 9000}]
        api.put(endpoint_slice("web-1", endpoint("127.0.0.1", "a"), ports=ports))
        await ground.until(lambda: members(ground) == {"a": "127.0.0.1:8000"})

    watch(story, port_name="http")


def test_a_pod_that_terminates_keeps_its_sessions_and_gets_no_new_one(play, api_server):
    async def story(ground):
        first, second = await ground.server("A"), await ground.server("B")
        await api_server.start()

        def put(**conditions):
            a = endpoint("127.0.0.1", "a", **conditions)
            api_server.put(endpoint_slice("web-a", a, port=first.port))

        put()
        api_server.put(endpoint_slice("web-b", endpoint("127.0.0.1", "b"), port=second.port))
        try:
            await ground.start({"discovery": api_server.settings(), "health_check": UNCHECKED})
            _, head, body = await ground.get()
            cookie = head.split(b"Set-Cookie: ")[1].split(b";")[0].decode()
            assert body == b"A"
            put(ready=False, serving=True, terminating=True)
            await ground.until(lambda: "-a" in members(ground))
            assert {(await ground.get())[2] for _ in range(6)} == {b"B"}
            assert (await ground.get(Cookie=cookie))[2] == b"A"
            api_server.delete("web-b")  # nobody else is there: better a short stay than none
            await ground.until(lambda: set(members(ground)) == {"-a"})
            assert (await ground.get())[2] == b"A"
            api_server.put(endpoint_slice("web-b", endpoint("127.0.0.1", "b"), port=second.port))
            put(ready=False, serving=False, terminating=True)
            await ground.until(lambda: set(members(ground)) == {"b"})
            assert (await ground.get(Cookie=cookie))[2] == b"B"
        finally:
            await api_server.stop()

    play(story)


def test_settings_that_cannot_be_right_are_mistakes(play, api_server, monkeypatch):
    async def story(ground):
        monkeypatch.delenv("KUBERNETES_SERVICE_HOST", raising=False)
        group = {"discovery": {"type": "kubernetes", "name": "x", "port": 1, "port_name": "http"}}
        with pytest.raises(ConfigError) as caught:
            await ground.start(group)
        assert caught.value.problems == [
            "target_groups.web.discovery.service: is missing for type 'kubernetes'; add it",
            "target_groups.web.discovery.name: means nothing for type 'kubernetes'; remove it",
            "target_groups.web.discovery.port_name: is not possible with port; remove one of the two",
            "target_groups.web.discovery.api_url: is missing outside of a pod; write https://HOST:PORT",
        ]
        group = {"discovery": {"type": "kubernetes", "service": "web", "api_url": "http://10.0.0.1:80"}}
        with pytest.raises(ConfigError, match="would show the token"):
            await ground.start(group)

    play(story)

"""Several workers are one balancer: what they share, and what the death of one costs."""

import asyncio
import concurrent.futures
import contextlib
import json
import os
import re
import select
import signal
import ssl
from collections import Counter
from pathlib import Path

import httpx
import pytest
from prometheus_client.parser import text_string_to_metric_families

from limpet.control.plane import workers

WORKERS = {"workers": 2}


async def start(ground, *names, clients=None, **settings):
    for name in names:
        if name not in ground.servers:
            await ground.server(name)
    more = {"clients": clients} if clients else {}
    return await ground.start(ground.group(*names, **settings), **WORKERS, **more)


def pids(ground):
    return [worker._process.pid for worker in ground.balancer.plane._workers]


async def connect(ground):
    """Open a connection, make a request on it, and keep it."""
    reader, writer = await asyncio.open_connection("127.0.0.1", ground.port)
    try:
        await ask(reader, writer)
    except BaseException:
        writer.close()
        raise
    return reader, writer


async def ask(reader, writer, path="/"):
    writer.write(f"GET {path} HTTP/1.1\r\nHost: shop.example\r\n\r\n".encode())
    head = await reader.readuntil(b"\r\n\r\n")
    length = int(head.lower().split(b"content-length: ")[1].split(b"\r\n")[0])
    return head, await reader.readexactly(length)


def by_worker(ground, field="connections"):
    board = ground.balancer.plane._board
    return [board.get(worker, field) for worker in range(2)]


def lives(pid):
    return Path(f"/proc/{pid}").exists()


async def no_balancer(ground):
    """Tell the ground that its balancer has stopped already."""
    ground.balancer = None
    await ground.admin.stop()


async def replaced(ground, dead):
    plane = ground.balancer.plane
    await ground.until(lambda: all(worker.is_ready for worker in plane._workers) and dead not in pids(ground))


def test_connections_are_split_evenly(play):
    async def story(ground):
        await start(ground, "A", "B")
        await asyncio.gather(*(ground.get() for _ in range(60)))
        kept = [await connect(ground) for _ in range(60)]
        await ground.until(lambda: sum(by_worker(ground)) == 60)  # the short ones are gone
        short = by_worker(ground, "accepted")
        open_ = by_worker(ground)
        for _, writer in kept:
            writer.close()
        # Each worker has its half, give or take a tenth of all: a starved one may be waited for in vain.
        assert abs(open_[0] - open_[1]) <= 0.2 * 60, open_
        assert abs(short[0] - short[1]) <= 0.2 * 120, short
        await ground.until(lambda: by_worker(ground) == [0, 0])

    play(story)


def test_a_ticket_of_one_worker_counts_with_the_other(play):
    async def story(ground):
        await start(ground, "A", "B", "C")
        head = (await ground.get())[1]
        ticket = head.split(b"Set-Cookie: ")[1].split(b";")[0].decode()
        home = (await ground.get(Cookie=ticket))[2]
        answers = [await ground.get(Cookie=ticket) for _ in range(20)]
        assert {body for _, _, body in answers} == {home}
        assert not any(b"Set-Cookie" in head for _, head, _ in answers)
        assert min(by_worker(ground, "accepted")) > 3
        _, facts = await ground.call("GET", "/status")
        # Both workers have seen the session; it counts once.
        assert sum(target["sessions"] for target in facts["target_groups"][0]["targets"]) == 1
        assert facts["requests"] == 22

    play(story)


def test_the_death_of_a_worker_costs_its_own_connections(play):
    async def story(ground):
        await start(ground, "A", "B")
        kept = [await connect(ground) for _ in range(20)]
        before = (await ground.call("GET", "/status"))[1]
        dead = pids(ground)[0]
        mine = by_worker(ground)[0]
        os.kill(dead, signal.SIGKILL)
        await replaced(ground, dead)
        cut = 0
        for reader, writer in kept:
            try:
                await ask(reader, writer)
            except (ConnectionError, asyncio.IncompleteReadError):
                cut += 1
                writer.close()
        assert cut == mine
        assert [(await ground.get())[0] for _ in range(20)] == [200] * 20
        assert min(by_worker(ground, "accepted")) > 3
        after = (await ground.call("GET", "/status"))[1]
        assert after["requests"] == before["requests"] + 20 - cut + 20
        assert sum(target["in_flight"] for target in after["target_groups"][0]["targets"]) == 0
        for _, writer in kept:
            writer.close()

    play(story)


def test_requests_of_a_dead_worker_are_not_in_flight_any_more(play):
    async def story(ground):
        await start(ground, "A", limits={"max_in_flight": 2})
        ground.servers["A"].hold.clear()
        slow = [asyncio.create_task(ground.get("/slow")) for _ in range(2)]
        await ground.until(lambda: ground.balancer.plane.refresh() and ground.state("A").in_flight == 2)
        for dead in pids(ground):
            os.kill(dead, signal.SIGKILL)
            await replaced(ground, dead)
        await asyncio.gather(*slow, return_exceptions=True)
        ground.servers["A"].hold.set()
        assert (await ground.get())[0] == 200
        ground.balancer.plane.refresh()
        assert ground.state("A").in_flight == 0

    play(story)


def test_a_stuck_worker_holds_up_no_new_client(play):
    async def story(ground):
        await start(ground, "A")
        stuck = pids(ground)[1]
        os.kill(stuck, signal.SIGSTOP)
        try:
            # One that waits for the stuck worker waits until that is continued, which is further down.
            async with asyncio.timeout(30):
                assert [(await ground.get())[0] for _ in range(30)] == [200] * 30
            status, facts = await ground.call("GET", "/status")
            assert (status, facts["requests"] >= 29) == (200, True)
        finally:
            os.kill(stuck, signal.SIGCONT)

    play(story)


@pytest.mark.parametrize("limit", [1, 3])
def test_a_limit_holds_for_all_workers_together(play, limit):
    async def story(ground):
        await start(ground, "A", limits={"max_in_flight": limit})
        server = ground.servers["A"]
        server.hold.clear()
        slow = [asyncio.create_task(ground.get("/slow")) for _ in range(12)]
        plane = ground.balancer.plane
        await ground.until(lambda: plane.refresh().connections == 12)
        await ground.until(lambda: plane.refresh() and ground.state("A").queued >= 12 - limit - 1)
        arrived = sum(b"/slow" in head for head in server.requests)
        assert limit <= arrived <= limit + 1  # two may ask in the same moment
        server.hold.set()
        assert [status for status, _, _ in await asyncio.gather(*slow)] == [200] * 12
        plane.refresh()
        assert (ground.state("A").in_flight, ground.state("A").requests) == (0, 12)

    play(story)


def test_least_outstanding_sees_the_requests_of_all_workers(play):
    async def story(ground):
        await start(ground, "A", "B", algorithm="least_outstanding_requests", stickiness={"type": "off"})
        for server in ground.servers.values():
            server.hold.clear()
        slow = []
        for count in range(1, 11):  # one at a time, so that each decision knows all before
            slow.append(asyncio.create_task(ground.get("/slow")))
            await ground.until(
                lambda count=count: (
                    sum(b"/slow" in head for server in ground.servers.values() for head in server.requests)
                    == count
                )
            )
        load = Counter()
        for name, server in ground.servers.items():
            load[name] = sum(b"/slow" in head for head in server.requests)
        assert load == {"A": 5, "B": 5}
        for server in ground.servers.values():
            server.hold.set()
        await asyncio.gather(*slow)

    play(story)


def test_too_many_connections_are_counted_over_all_workers(play):
    async def story(ground):
        await start(ground, "A", clients={"max_connections": 6})
        kept = [await connect(ground) for _ in range(6)]
        with pytest.raises((ConnectionError, asyncio.IncompleteReadError)):
            await connect(ground)
        await ground.until(lambda: ground.balancer.plane.refresh().rejected_connections == 1)
        kept[0][1].close()
        await ground.until(lambda: ground.balancer.plane.refresh().connections == 5)
        (await connect(ground))[1].close()
        for _, writer in kept:
            writer.close()

    play(story)


def test_a_client_has_one_limit_over_all_workers(play):
    async def story(ground):
        limits = {"max_connections_per_client": 6, "requests_per_s_per_client": 0.01, "burst": 12}
        await start(ground, "A", clients=limits)
        kept = [await connect(ground) for _ in range(6)]
        with pytest.raises((ConnectionError, asyncio.IncompleteReadError)):
            await connect(ground)
        statuses = []
        for reader, writer in kept * 2:
            writer.write(b"GET / HTTP/1.1\r\nHost: shop.example\r\n\r\n")
            head = await reader.readuntil(b"\r\n\r\n")
            length = int(head.lower().split(b"content-length: ")[1].split(b"\r\n")[0])
            await reader.readexactly(length)
            statuses.append(int(head.split(b" ")[1]))
        assert statuses == [200] * 6 + [429] * 6  # each had asked once before
        for _, writer in kept:
            writer.close()

    play(story)


def test_targets_are_checked_once_not_by_every_worker(play):
    async def story(ground):
        await start(ground, "A", health_check={"interval_s": 60})
        await ground.get()
        assert sum(b"/health" in head for head in ground.servers["A"].requests) == 1

    play(story)


def test_failed_requests_in_any_worker_make_a_target_unhealthy(play):
    async def story(ground):
        check = {"interval_s": 60, "passive_threshold": 3}
        await start(ground, "A", "B", health_check=check, stickiness={"type": "off"})
        await ground.servers["A"].stop()
        for _ in range(40):
            assert (await ground.get())[0] == 200  # it was retried
            if ground.state("A").health == "unhealthy":
                break
        assert ground.state("A").health == "unhealthy"

    play(story)


def test_reloads_and_commands_reach_every_worker(play):
    async def story(ground):
        await start(ground, "A", "B", stickiness={"type": "off"})
        await ground.server("C")
        ground.data["target_groups"] = {"web": ground.group("C", stickiness={"type": "off"})}
        await ground.balancer.reload()
        assert {(await ground.get())[2] for _ in range(10)} == {b"C"}
        await ground.call("POST", "/targets/web", {"name": "D", "address": ground.servers["A"].address})
        await ground.until(lambda: ground.state("D").health == "healthy")
        await ground.call("PUT", "/targets/web/C/maintenance", {"on": True})
        assert {(await ground.get())[2] for _ in range(10)} == {b"A"}
        # Those that were drained are forgotten everywhere, and their places are free again.
        await ground.until(lambda: set(ground.balancer.state.groups["web"].targets) == {"C", "D"})
        await ground.until(lambda: len(ground.balancer.plane._slots) == 2)

    play(story)


def test_a_new_worker_knows_what_the_others_were_told(play):
    async def story(ground):
        await start(ground, "A", "B", stickiness={"type": "off"})
        await ground.call("PUT", "/targets/web/A/maintenance", {"on": True})
        for dead in pids(ground):
            os.kill(dead, signal.SIGKILL)
            await replaced(ground, dead)
        assert {(await ground.get())[2] for _ in range(10)} == {b"B"}

    play(story)


def test_explain_finds_the_worker(play):
    async def story(ground):
        await start(ground, "A")
        for _ in range(6):
            head = (await ground.get())[1]
            request_id = head.split(b"X-Request-Id: ")[1].split(b"\r\n")[0].decode()
            status, facts = await ground.call("GET", f"/explain/{request_id}")
            assert (status, facts["target"]) == (200, "A")
        assert (await ground.call("GET", "/explain/none"))[0] == 404

    play(story)


def test_all_workers_write_one_log_and_reopen_it(play):
    async def story(ground):
        await start(ground, "A")
        log = ground.tmp_path / "access.log"
        for _ in range(10):
            await ground.get("/before")
        await ground.until(lambda: log.read_text().count("/before") == 10)
        log.rename(ground.tmp_path / "old.log")
        ground.balancer.plane.reopen_log()
        await ground.until(log.exists)
        for _ in range(10):
            await ground.get("/after")
        await ground.until(lambda: log.exists() and log.read_text().count("/after") == 10)

    play(story)


def test_draining_waits_for_the_requests_of_all_workers(play):
    async def story(ground):
        await start(ground, "A")
        ground.servers["A"].hold.clear()
        slow = [asyncio.create_task(ground.get("/slow")) for _ in range(6)]
        await ground.until(lambda: sum(b"/slow" in x for x in ground.servers["A"].requests) == 6)
        living = pids(ground)
        stopping = asyncio.create_task(ground.balancer.stop(10))
        await ground.until(lambda: not ground.balancer._sockets)
        ground.servers["A"].hold.set()
        assert await stopping == 0
        assert [status for status, _, _ in await asyncio.gather(*slow)] == [200] * 6
        assert not any(map(lives, living))
        await no_balancer(ground)

    play(story)


def test_what_is_still_held_at_the_end_is_cut_and_counted(play):
    async def story(ground):
        await start(ground, "A")
        ground.servers["A"].hold.clear()
        slow = [asyncio.create_task(ground.get("/slow")) for _ in range(4)]
        await ground.until(lambda: sum(b"/slow" in x for x in ground.servers["A"].requests) == 4)
        assert await ground.balancer.stop(0.1) == 4
        assert len(await asyncio.gather(*slow, return_exceptions=True)) == 4
        await no_balancer(ground)

    play(story)


def test_workers_end_when_control_is_killed(limpet):
    running = limpet("up", "--target", "http://127.0.0.1:1", "--workers", "2", "--access-log", "off")
    admin = running.admin
    assert admin
    children = Path(f"/proc/{running.process.pid}/task/{running.process.pid}/children").read_text().split()
    assert len(children) == 2
    watched = [os.pidfd_open(int(child)) for child in children]
    running.process.kill()
    running.wait()
    with contextlib.ExitStack() as closing:
        for descriptor in watched:
            closing.callback(os.close, descriptor)
            assert select.select([descriptor], [], [], 30)[0], "a worker outlived control"


def test_a_worker_that_cannot_start_is_told(limpet, tmp_path):
    (tmp_path / "sitecustomize.py").write_text(
        "import sys\nif any('plane.worker' in word for word in sys.orig_argv): raise SystemExit(3)\n"
    )
    path = f"{tmp_path}:{os.environ.get('PYTHONPATH', '')}"
    running = limpet("up", "--target", "http://127.0.0.1:1", "--workers", "2", PYTHONPATH=path)
    assert running.wait() == 2
    running.line("worker [01] did not start")


def test_status_is_json_over_two_workers(limpet):
    running = limpet("up", "--target", "http://127.0.0.1:1", "--workers", "2", "--access-log", "off")
    answer = running.command("status", "--json")
    assert json.loads(answer.stdout)["workers"] == 2
    assert running.end() == 0


def test_metrics_are_those_of_all_workers_and_survive_one(play):
    async def story(ground):
        await start(ground, "A")
        for _ in range(20):
            await ground.get()
        assert await counted(ground) == 20
        dead = pids(ground)[0]
        os.kill(dead, signal.SIGKILL)
        await replaced(ground, dead)
        assert await counted(ground) == 20
        for _ in range(20):
            await ground.get()
        assert await counted(ground) == 40

    play(story)


async def counted(ground):
    status, text = await ground.call("GET", "/metrics")
    assert status == 200
    families = text_string_to_metric_families(text.decode())
    return sum(x.value for family in families for x in family.samples if x.name == "limpet_requests_total")


def test_a_worker_that_does_nothing_any_more_is_replaced(play, monkeypatch):
    monkeypatch.setattr(workers, "_STUCK_S", 1.0)
    monkeypatch.setattr(workers, "_STUCK_AGAIN_S", 0.2)

    async def story(ground):
        await start(ground, "A")
        stuck = pids(ground)[0]
        os.kill(stuck, signal.SIGSTOP)
        await replaced(ground, stuck)
        assert ground.balancer.plane.deaths == 1
        assert [(await ground.get())[0] for _ in range(10)] == [200] * 10

    play(story)


def test_lines_of_several_workers_are_not_mixed_up_in_a_pipe(limpet):
    running = limpet("up", "--target", "http://127.0.0.1:1", "--workers", "2")
    url = running.url
    context = ssl.create_default_context()  # once: it takes longer than a request

    def get(path):
        return httpx.get(url + path, verify=context).status_code

    with concurrent.futures.ThreadPoolExecutor(8) as pool:
        statuses = set(pool.map(get, [f"/{'x' * (number % 1500)}" for number in range(400)]))
    assert statuses == {502}
    assert running.end() == 0
    lines = [line for line in running.lines if '"GET /' in line]
    assert len(lines) == 400
    assert all(
        re.fullmatch(r'\S+ 127\.0\.0\.1 \S+ "GET /x* HTTP/1\.1" 502 .* connect_failed', x) for x in lines
    )


def arrived(ground):
    requests = (head for server in ground.servers.values() for head in server.requests)
    return sum(b"/health" not in head for head in requests)


def test_parallel_first_requests_of_a_browser_meet_in_any_worker(play):
    async def story(ground):
        await start(ground, "A", "B", "C", "D")
        servers = ground.servers.values()
        for number in range(12):
            agent = {"User_Agent": f"Mozilla/5.0 ({number})"}
            for server in servers:
                server.hold.clear()
                server.requests.clear()
            tasks = []
            for expected in (1, 8):  # the first is on its way when the others are sent
                while len(tasks) < expected:
                    tasks.append(asyncio.create_task(ground.get("/", **agent)))
                await ground.until(lambda expected=expected: arrived(ground) == expected)
            for server in servers:
                server.hold.set()
            assert len({body for _, _, body in await asyncio.gather(*tasks)}) == 1, number
        assert min(by_worker(ground, "accepted")) > 20

    play(story)

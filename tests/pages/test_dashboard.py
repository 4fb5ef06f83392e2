"""The dashboard in a real browser: its numbers are the admin API's, its buttons do what they say.

With `LIMPET_PICTURES=docs/images` the pictures of the documentation are made anew.
"""

from __future__ import annotations

import os
import threading
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import httpx
import pytest
from axe_playwright_python.sync_playwright import Axe
from small_targets import TIMEOUT_S, SmallTarget, visit

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from playwright.sync_api import Browser, Page

TOKEN = "0123456789abcdef0123"
#: Where the documentation's pictures go, if they are wanted.
PICTURES = os.environ.get("LIMPET_PICTURES")


#: Every test has a target group of its own, so that one limpet serves them all.
GROUPS = ("numbers", "explained", "unusual", "weights", "service", "changes", "told")
HUNDRED = [f"web-{number:03}" for number in range(1, 101)]


class Site:
    """A limpet with target groups of three targets each, A to C, and one of a hundred.

    Attributes:
        targets: the same servers for all groups, by name.
        admin_url: of the page.
    """

    def __init__(self, running: Any, targets: list[SmallTarget]) -> None:
        self.targets = {target.name: target for target in targets}
        self.admin_url = f"http://{running.admin}/"
        listeners = self.get("status")["listeners"]
        self._urls = {each["target_group"]: f"http://{each['address']}" for each in listeners}

    def get(self, path: str) -> dict[str, Any]:
        return httpx.get(f"{self.admin_url}{path}").json()

    def url(self, group: str) -> str:
        """Return where a group's people come."""
        return self._urls[group]

    def of(self, group: str) -> list[dict[str, Any]]:
        """Return what the admin API says of a group's targets."""
        (found,) = [each for each in self.get("status")["target_groups"] if each["name"] == group]
        return found["targets"]

    def target(self, group: str, name: str) -> dict[str, Any]:
        (found,) = [target for target in self.of(group) if target["name"] == name]
        return found


def configuration(targets: list[SmallTarget]) -> str:
    """Return that of the site."""
    lines = []
    for group in (*GROUPS, "hundred"):
        lines += ["[[listeners]]", 'address = "127.0.0.1:0"', f'target_group = "{group}"']
    for group in GROUPS:
        lines += [f"[target_groups.{group}.health_check]", 'path = "/health"', "interval_s = 1"]
        for target in targets:
            lines += [
                f"[[target_groups.{group}.targets]]",
                f'name = "{target.name}"',
                f'address = "{target.url}"',
            ]
    # A hundred addresses of one server.
    lines += ["[target_groups.hundred.health_check]", "enabled = false"]
    for number, name in enumerate(HUNDRED, 1):
        address = f"127.0.1.{number}:{targets[0].server_port}"
        lines += ["[[target_groups.hundred.targets]]", f'name = "{name}"', f'address = "{address}"']
    return "\n".join(lines)


@pytest.fixture(scope="module")
def site(limpet: Callable[..., Any], tmp_path_factory: pytest.TempPathFactory) -> Iterator[Site]:
    with ExitStack() as stack:
        targets = [stack.enter_context(SmallTarget(name)) for name in "ABC"]
        path = tmp_path_factory.mktemp("site") / "limpet.toml"
        path.write_text(configuration(targets))
        yield Site(limpet("up", str(path), "--access-log", "off", listen=None), targets)


@pytest.fixture
def open_page(chromium: Browser) -> Iterator[Callable[..., Page]]:
    """Open pages that must not complain, nor ask anybody but their own origin."""
    with ExitStack() as stack:

        def go(url: str, expected: str = "", **options: Any) -> Page:
            context = stack.enter_context(chromium.new_context(**options))
            context.set_default_timeout(TIMEOUT_S * 1000)
            page = context.new_page()
            complaints: list[str] = []
            origin = url.partition("#")[0]
            page.on("console", lambda message: complaints.append(message.text))
            page.on("pageerror", lambda error: complaints.append(str(error)))
            page.on(
                "request",
                lambda asked: None if asked.url.startswith(origin) else complaints.append(asked.url),
            )

            def check() -> None:
                assert [text for text in complaints if not expected or expected not in text] == []

            stack.callback(check)
            page.goto(url)
            return page

        yield go


@pytest.fixture
def look(site: Site, open_page: Callable[..., Page]) -> Callable[..., Page]:
    """Open the page of a group."""

    def go(group: str, expected: str = "", **options: Any) -> Page:
        page = open_page(f"{site.admin_url}#{group}", expected, **options)
        page.locator("#targets tbody tr").first.wait_for()
        return page

    return go


@contextmanager
def in_flight(site: Site, group: str, count: int) -> Iterator[None]:
    """Keep requests in flight, each of a new person."""
    for target in site.targets.values():
        target.may_answer.clear()
    people = [threading.Thread(target=visit, args=(site.url(group), 1)) for _ in range(count)]
    for person in people:
        person.start()
    try:
        yield
    finally:
        for target in site.targets.values():
            target.may_answer.set()
        for person in people:
            person.join(TIMEOUT_S)


def row(page: Page, name: str) -> Any:
    return page.locator(f'#targets tr[data-key$="/{name}"]')


def cell(page: Page, name: str, column: str) -> str:
    return row(page, name).locator(f'[data-column="{column}"]').inner_text().strip().split("\n")[-1]


def shows(page: Page, selector: str, text: str) -> None:
    page.wait_for_function(
        "([selector, text]) => document.querySelector(selector)?.textContent === text", arg=[selector, text]
    )


def manage(page: Page, name: str, button: str) -> None:
    row(page, name).get_by_role("button", name=f"Manage {name}").click()
    page.get_by_role("dialog").get_by_role("button", name=button).click()


def confirm(page: Page, button: str, notice: str) -> None:
    page.get_by_role("dialog").get_by_role("button", name=button, exact=True).click()
    shows(page, "#notice", notice)


def picture(page: Page, name: str) -> None:
    """Make a picture for the documentation, if they are wanted."""
    data = page.screenshot(path=Path(PICTURES) / f"{name}.png" if PICTURES else None)
    assert data.startswith(b"\x89PNG")


def test_the_numbers_are_those_of_the_admin_api(site: Site, look: Callable[..., Page]) -> None:
    page = look("numbers")
    visit(site.url("numbers"), people=7, refreshes=3)
    with in_flight(site, "numbers", 5):
        shows(page, "#tile-in-flight", "5")
        shows(page, "#tile-sessions", "7")  # a session counts from its second request
        targets = site.of("numbers")
        assert len(targets) == page.locator("#targets tbody tr").count() == 3
        for target in targets:
            shown = [cell(page, target["name"], column) for column in ("weight", "in_flight", "sessions")]
            assert shown == [str(target[key]) for key in ("weight", "in_flight", "sessions")]
            assert row(page, target["name"]).locator(".chip").inner_text() == target["health"]
            assert target["address"] in row(page, target["name"]).inner_text()
        assert columns(page) == [f"{each['name']}: {each['sessions']}, healthy" for each in targets]
        page.get_by_label("Sessions", exact=True).focus()
        page.keyboard.press("ArrowRight")
        assert columns(page) == [f"{each['name']}: {each['in_flight']}, healthy" for each in targets]
    shows(page, "#group-facts", "numbers: round_robin, stickiness lb_cookie, 26 requests answered")
    shows(page, '#sticky li[data-key="bound"] b', "14")
    metrics = httpx.get(f"{site.admin_url}metrics").text
    assert 'limpet_sticky_requests_total{status="bound",target_group="numbers"} 14.0' in metrics


def columns(page: Page) -> list[str]:
    return page.locator("#spread title").all_text_contents()


def test_a_decision_is_explained(site: Site, look: Callable[..., Page]) -> None:
    page = look("explained")
    visit(site.url("explained"), people=1, refreshes=2, path="/to-be-explained")
    latest = page.locator("#recent tr", has_text="/to-be-explained").filter(has_text="bound")
    latest.wait_for()
    request_id = latest.get_attribute("data-request")
    explained = site.get(f"explain/{request_id}")
    assert f"explained/{explained['target']}" in latest.inner_text()
    latest.get_by_role("button").press("Enter")
    dialog = page.get_by_role("dialog")
    dialog.get_by_text(str(request_id)).wait_for()
    verdicts = dialog.locator("tbody tr").all_inner_texts()
    wanted = [candidate["verdict"] for candidate in explained["candidates"]]
    assert [verdict.split("\t")[-1] for verdict in verdicts] == wanted
    # The keyboard goes back to where it came from, and nothing moved away meanwhile.
    page.keyboard.press("Escape")
    assert latest.get_by_role("button").evaluate("button => button === document.activeElement")


def test_what_is_out_of_the_ordinary_can_be_seen_alone_and_held(
    site: Site, look: Callable[..., Page]
) -> None:
    page = look("unusual")
    site.targets["A"].status = 500
    visit(site.url("unusual"), people=3, path="/unusual")
    site.targets["A"].status = 200
    rows = page.locator("#recent tbody tr", has_text="/unusual")
    rows.and_(page.locator(".bad")).wait_for()
    assert rows.count() == 3
    page.get_by_label("only out of the ordinary").check()
    assert rows.count() == 1
    page.get_by_label("only out of the ordinary").uncheck()
    page.get_by_role("button", name="Hold").click()
    visit(site.url("unusual"), people=2, path="/unusual")
    shows(page, "#group-facts", "unusual: round_robin, stickiness lb_cookie, 5 requests answered")
    assert rows.count() == 3
    page.get_by_role("button", name="Hold").click()
    assert rows.count() == 5


def test_a_weight_is_changed_once_it_is_confirmed(site: Site, look: Callable[..., Page]) -> None:
    page = look("weights")
    row(page, "B").get_by_role("button").click()
    page.get_by_label("Weight").fill("3")
    page.get_by_role("button", name="Set weight").click()
    page.get_by_text("It gets 60 % of new sessions instead of 33 %").wait_for()
    page.get_by_role("button", name="Cancel").click()
    assert site.target("weights", "B")["weight"] == 1
    row(page, "B").get_by_role("button").click()
    page.get_by_label("Weight").fill("3")
    page.get_by_label("Weight").press("Enter")
    confirm(page, "Set weight 3", "B has weight 3.")
    assert site.target("weights", "B")["weight"] == 3
    shows(page, '#targets tr[data-key="weights/B"] [data-column=weight]', "3")


def test_a_target_is_taken_out_of_service_and_put_back(site: Site, look: Callable[..., Page]) -> None:
    page = look("service")
    manage(page, "C", "Take out of service")
    confirm(page, "Take C out of service", "C is out of service.")
    assert site.target("service", "C")["health"] == "maintenance"
    row(page, "C").get_by_text("maintenance", exact=True).wait_for()
    assert "service/C is maintenance" in page.locator("#announcer").inner_text()
    manage(page, "C", "Put back into service")
    confirm(page, "Put C back", "C is back.")
    row(page, "C").get_by_text("healthy", exact=True).wait_for()
    assert site.target("service", "C")["health"] == "healthy"


def test_a_target_is_added_and_another_drained(site: Site, look: Callable[..., Page]) -> None:
    page = look("changes", expected="400")
    visit(site.url("changes"), people=3, refreshes=2)
    with SmallTarget("D") as fresh:
        page.get_by_role("button", name="Add a target").click()
        page.get_by_label("Address", exact=True).fill("shop.example:80")
        page.get_by_role("button", name="Continue").click()
        page.get_by_role("button", name="Add the target").click()
        page.get_by_role("alert").get_by_text("a DNS name can be given in the file only").wait_for()
        page.get_by_role("button", name="Cancel").click()
        page.get_by_role("button", name="Add a target").click()
        page.get_by_label("Address", exact=True).fill(fresh.url)
        page.get_by_label("Name").fill("D")
        page.get_by_label("Name").press("Enter")
        confirm(page, "Add the target", "D was added.")
        row(page, "D").get_by_text("healthy", exact=True).wait_for()
        assert site.target("changes", "D")["address"] == f"127.0.0.1:{fresh.server_port}"
        with in_flight(site, "changes", 4):
            shows(page, '#targets tr[data-key="changes/A"] [data-column=in_flight]', "1")
            manage(page, "A", "Drain")
            page.get_by_text("1 active session goes on at another target. Their users").wait_for()
            confirm(page, "Drain A", "A is draining.")
            row(page, "A").get_by_text("draining", exact=True).wait_for()
            assert site.target("changes", "A")["health"] == "draining"
        row(page, "A").wait_for(state="detached")
        assert [target["name"] for target in site.of("changes")] == ["B", "C", "D"]


def test_a_hundred_targets_are_sorted_and_found(site: Site, look: Callable[..., Page]) -> None:
    page = look("hundred")
    visit(site.url("hundred"), people=20, refreshes=2)
    shows(page, "#tile-sessions", "20")
    rows = page.locator("#targets tbody tr")
    assert rows.count() == page.locator("#spread .column").count() == 100
    assert "20 active sessions on 100 targets" in page.locator("#spread-words").inner_text()
    heading = page.locator('#targets th[data-column="sessions"]')
    heading.get_by_role("button").click()
    assert heading.get_attribute("aria-sort") == "descending"
    counts = [int(text) for text in page.locator('#targets tbody [data-column="sessions"]').all_inner_texts()]
    assert counts == [1] * 20 + [0] * 80
    page.get_by_label("Show targets that contain").fill("web-07")
    assert rows.count() == 10
    assert page.locator("#targets-words").inner_text() == "10 of 100 targets"


def test_sessions_that_apps_tell_of_are_told(site: Site, look: Callable[..., Page]) -> None:
    def say(state: str) -> None:
        for target in site.targets.values():
            target.session_state = state

    page = look("told")
    url = site.url("told")
    with httpx.Client(base_url=url, verify=False) as person:
        say(f"portable; v=1; fp={'a' * 16}; user")
        person.get("/")
        person.get("/")
        say("pinned; why=memory")
        visit(url, people=2, refreshes=2)
        shows(page, "#tile-sessions", "3")
        assert "1 portable, 2 pinned" in page.locator("#tiles").inner_text()
        for target in site.of("told"):
            shown = [cell(page, target["name"], column) for column in ("sessions", "portable", "pinned")]
            assert shown == [str(target[key]) for key in ("sessions", "portable", "pinned")]
        say(f"portable; v=2; fp={'a' * 16}; visitor; ended=lost")
        person.get("/")
    say("")
    shows(page, "#tile-logouts", "1")
    assert page.locator("#logouts li .name").all_inner_texts() == ["store miss"]
    (pinned, *_) = [target["name"] for target in site.of("told") if target["pinned"]]
    row(page, pinned).get_by_role("button").click()
    page.get_by_text("0 portable, 1 pinned (1 in memory)").wait_for()
    page.get_by_role("button", name="Let sessions leave").click()
    confirm(page, "Let sessions leave", f"{pinned} gets no new session.")
    assert site.target("told", pinned)["is_terminating"]
    row(page, pinned).get_by_text("healthy, terminating").wait_for()


@pytest.fixture(scope="module")
def shop(limpet: Callable[..., Any], tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """A limpet over five targets, of which one fails and one is gone, while people visit them; its page."""
    with ExitStack() as stack:
        targets = [stack.enter_context(SmallTarget(name)) for name in "ABCD"]
        targets[1].status = 500
        for target, state in zip(
            targets, ("portable", "portable", "portable", "pinned; why=memory"), strict=True
        ):
            target.session_state = state.replace("portable", f"portable; v=1; fp={'a' * 16}; user")
        members = [f'{{name = "{target.name}", address = "{target.url}"}}' for target in targets]
        members.append('{name = "E", address = "127.0.0.1:1"}')
        path = tmp_path_factory.mktemp("shop") / "limpet.toml"
        check = 'health_check = {path = "/health", interval_s = 1}'
        path.write_text(f"[target_groups.shop]\n{check}\ntargets = [{', '.join(members)}]\n")
        running = limpet("up", str(path), "--access-log", "off")
        ending = threading.Event()

        def crowd() -> None:
            while not ending.is_set():
                visit(running.url, people=1, refreshes=6, path="/cart")
                ending.wait(0.05)

        people = threading.Thread(target=crowd)
        people.start()
        yield f"http://{running.admin}/"
        ending.set()
        people.join(TIMEOUT_S)


@pytest.mark.parametrize(("scheme", "width"), [("light", 1280), ("dark", 390)])
def test_it_fits_its_window(shop: str, open_page: Callable[..., Page], scheme: str, width: int) -> None:
    page = open_page(
        shop, color_scheme=scheme, viewport={"width": width, "height": 844 if width < 800 else 1000}
    )
    page.locator("#recent tbody tr.bad").first.wait_for()
    row(page, "E").get_by_text("unhealthy").wait_for()
    if PICTURES:
        page.wait_for_timeout(40_000)  # for lines worth looking at
    assert page.evaluate("document.documentElement.scrollWidth") == width
    assert Axe().run(page).generate_snapshot() == ""
    picture(page, f"dashboard-{scheme}-{width}")
    manage(page, "A", "Drain")
    page.get_by_text("It gets no request any more").wait_for()
    assert page.evaluate("document.documentElement.scrollWidth") == width
    assert Axe().run(page).generate_snapshot() == ""
    picture(page, f"dashboard-drain-{scheme}-{width}")


@pytest.fixture(scope="module")
def guarded(limpet: Callable[..., Any], tmp_path_factory: pytest.TempPathFactory) -> Any:
    """A limpet with a token, where nothing can be changed."""
    path = tmp_path_factory.mktemp("guarded") / "limpet.toml"
    path.write_text('[target_groups.web]\ntargets = ["127.0.0.1:1"]\n[admin]\nread_only = true\n')
    return limpet("up", str(path), "--access-log", "off", LIMPET_ADMIN_TOKEN=TOKEN)


def log_in(page: Page, token: str) -> None:
    page.get_by_label("Token").fill(token)
    page.get_by_role("button", name="Show the dashboard").click()


def test_without_the_token_there_is_a_form_and_never_a_cookie(
    guarded: Any, open_page: Callable[..., Page]
) -> None:
    page = open_page(f"http://{guarded.admin}/", expected="401")
    log_in(page, "wrong-token-0123456789")
    page.wait_for_function("document.querySelector('#login input')?.value === ''")
    log_in(page, TOKEN)
    page.locator("#targets tbody tr").wait_for()
    page.reload()
    page.locator("#targets tbody tr").wait_for()
    assert page.context.cookies() == []
    other = page.context.new_page()  # the token is one tab's
    other.goto(page.url)
    other.get_by_label("Token").wait_for()


def test_a_read_only_page_has_nothing_that_changes_something(
    guarded: Any, open_page: Callable[..., Page]
) -> None:
    page = open_page(f"http://{guarded.admin}/", expected="401")
    log_in(page, TOKEN)
    page.locator("#targets tbody tr").wait_for()
    assert page.get_by_text("read-only", exact=True).is_visible()
    assert page.get_by_role("button", name="Manage").count() == 0
    assert not page.get_by_role("button", name="Add a target").is_visible()


def test_it_goes_on_with_a_successor_and_tells_that_nobody_answers(
    limpet: Callable[..., Any], open_page: Callable[..., Page]
) -> None:
    with SmallTarget("A") as target:
        running = limpet("up", "--target", target.url, "--access-log", "off")
        page = open_page(f"http://{running.admin}/", expected="ERR_")
        visit(running.url, people=3)
        shows(page, "#group-facts", "default: round_robin, stickiness lb_cookie, 3 requests answered")
        assert running.command("reload", "--binary").returncode == 0
        assert running.process.wait(TIMEOUT_S) == 0
        visit(running.url, people=1)
        shows(page, "#group-facts", "default: round_robin, stickiness lb_cookie, 1 request answered")
        shows(page, "#state", "live")
        running.end_successors()
        shows(page, "#state", "no answer, trying again")
        assert page.get_by_role("button", name="Add a target").is_disabled()

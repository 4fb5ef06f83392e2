"""The demo's page in a real browser: each button does what it says, and its numbers are the state API's.

One demo serves all tests, in the order of the file. With `LIMPET_PICTURES=docs/images` the pictures of
the documentation are made anew.
"""

from __future__ import annotations

import os
import time
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import httpx
import pytest

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from playwright.sync_api import Browser, ConsoleMessage, Page

TIMEOUT_S = 60.0
WIDE, NARROW = {"width": 1280, "height": 930}, {"width": 390, "height": 1400}
#: Pictures show more people than a test needs.
PEOPLE = 60 if "LIMPET_PICTURES" in os.environ else 20
CROWD = PEOPLE * 3 // 2


class Demo:
    """A running demo with its page open.

    Attributes:
        complaints: what the browser's console has said.
    """

    def __init__(self, url: str, page: Page) -> None:
        self.url = url
        self.page = page
        self.complaints: list[str] = []
        self.watch(page)
        page.set_default_timeout(TIMEOUT_S * 1e3)
        page.goto(url)
        page.wait_for_selector(".server")

    def watch(self, page: Page) -> None:
        """Note what goes wrong on a page."""

        def said(message: ConsoleMessage) -> None:
            if message.type in {"error", "warning"}:
                self.complaints.append(message.text)

        page.on("console", said)
        page.on("pageerror", lambda error: self.complaints.append(str(error)))

    @property
    def state(self) -> dict[str, Any]:
        """What the state API says."""
        return httpx.get(f"{self.url}/api/state").raise_for_status().json()

    def until(self, is_so: Callable[[dict[str, Any]], Any]) -> dict[str, Any]:
        """Wait until the state API says so; the crowd acts on its own."""
        end_s = time.monotonic() + TIMEOUT_S
        while not is_so(state := self.state):
            assert time.monotonic() < end_s, state
            self.page.wait_for_timeout(50)
        return state

    def press(self, name: str) -> None:
        """Press a button by what it says, once the page has heard that it may be pressed."""
        button = self.page.get_by_role("button", name=name, exact=True)
        button.and_(self.page.locator(":not([aria-disabled=true])")).click()

    def begin(self, title: str, mode: str) -> dict[str, Any]:
        """Press a mode's button and wait until everybody is there, and all servers are."""
        self.press(title)
        return self.until(
            lambda state: (
                state["mode"] == mode
                and all(mood != "arriving" for *_, mood in state["people"])
                and [server["state"] for server in state["servers"]] == ["serving"] * 5
            )
        )

    def picture(self, name: str, size: dict[str, int], *, is_dark: bool = False) -> None:
        """Take a picture for the documentation, if they are wanted."""
        folder = os.environ.get("LIMPET_PICTURES")
        if folder is None:
            return
        self.page.emulate_media(color_scheme="dark" if is_dark else "light")
        self.page.set_viewport_size(size)
        self.page.wait_for_timeout(1200)  # dots are on their way
        self.page.screenshot(path=Path(folder) / name)
        self.page.emulate_media(color_scheme="light")
        self.page.set_viewport_size(WIDE)


@pytest.fixture(scope="module")
def demo(limpet, chromium: Browser) -> Iterator[Demo]:
    running = limpet("demo", "--no-open", "--users", str(PEOPLE))
    # Without a graphics card, moving dots cost a core.
    context = chromium.new_context(viewport=WIDE, reduced_motion="reduce")
    yield Demo(running.line(r"demo on (\S+)")[1], context.new_page())
    context.close()
    assert running.end() == 0


@contextmanager
def paused(demo: Demo) -> Iterator[None]:
    demo.press("Pause")
    demo.page.wait_for_selector("#pause:text('Go on')")
    yield
    demo.press("Go on")
    demo.page.wait_for_selector("#pause:text('Pause')")


def state_of(state: dict[str, Any], server: str) -> str:
    return next((each["state"] for each in state["servers"] if each["name"] == server), "absent")


def people_of(state: dict[str, Any]) -> dict[str, int]:
    return {server["name"]: server["people"] for server in state["servers"]}


def test_the_first_act_logs_people_out_at_random_and_says_why(demo: Demo) -> None:
    demo.until(lambda state: state["figures"]["logouts"] > 100)
    assert demo.page.locator("#line").text_content().count("thrown out")
    assert "has never heard of" in demo.page.locator("#diary li.logout").first.text_content()
    assert demo.page.get_by_role("button", name="No stickiness").get_attribute("aria-pressed") == "true"
    demo.picture("demo-problem.png", WIDE)
    demo.picture("demo-narrow.png", NARROW)


def test_while_everybody_pauses_the_numbers_on_the_page_are_those_of_the_api(demo: Demo) -> None:
    page = demo.page
    with paused(demo):
        demo.until(lambda state: state["figures"]["pages_per_s"] == 0)
        demo.until(lambda state: shown(page) == expected(state))  # the page hears of it twice a second
        (act,) = demo.state["acts"]
        cells = page.locator("tr[data-act=off] td").all_text_contents()
        fields = ("pages", "logouts", "failures", "busiest_to_mean", "p99_ms", "commands_per_page")
        assert cells == [written(act[field]) for field in fields]


SERVER_FIELDS = ("people", "pages_per_s", "p99_ms")
MOODS = ("in", "out", "waiting", "arriving")


def shown(page: Page) -> dict[str, Any]:
    """Return the numbers on the page."""
    return page.evaluate(
        """([fields, moods]) => ({
          figures: Object.fromEntries(Array.from(document.querySelectorAll("[data-figure]"), (element) =>
            [element.dataset.figure, element.textContent])),
          servers: Object.fromEntries(Array.from(document.querySelectorAll(".server"), (card) =>
            [card.dataset.server,
             fields.map((name) => card.querySelector(`[data-field=${name}]`).textContent)])),
          dots: moods.map((mood) => document.querySelectorAll(`circle.${mood}`).length - 1),
        })""",
        [SERVER_FIELDS, MOODS],
    )


def expected(state: dict[str, Any]) -> dict[str, Any]:
    """Return what they should be."""
    names = ("people", "logged_in", "logouts", "failures", "busiest_to_mean", "p99_ms", "commands")
    moods = [mood for *_, mood in state["people"]]
    return {
        "figures": {name: written(state["figures"][name], name) for name in names},
        "servers": {
            server["name"]: [written(server[field]) for field in SERVER_FIELDS] for server in state["servers"]
        },
        "dots": [moods.count(mood) for mood in MOODS],
    }


def written(value: float | None, name: str = "") -> str:
    unit = " ms" if name == "p99_ms" else ""
    return "—" if value is None else f"{value:g}{unit}"


def test_sticky_people_stay_and_a_crowd_sticks_where_it_arrived(demo: Demo) -> None:
    before = demo.begin("Duration cookie", "lb_cookie")
    demo.press("A crowd arrives")
    after = demo.until(
        lambda state: (
            state["figures"]["people"] > PEOPLE
            and "updating" not in [each["state"] for each in state["servers"]]
            and all(server for _, _, server, _ in state["people"])
        )
    )
    assert any("C, D, E are being updated" in text for _, _, text in after["notes"])
    assert after["figures"]["people"] == PEOPLE + CROWD
    assert all(people_of(after)[name] == people_of(before)[name] for name in "CDE")
    assert people_of(after)["A"] + people_of(after)["B"] == PEOPLE + CROWD - sum(
        people_of(before)[n] for n in "CDE"
    )
    assert after["figures"]["logouts"] == 0
    demo.until(lambda state: (state["figures"]["busiest_to_mean"] or 0) > 1.5)
    demo.picture("demo-catch.png", WIDE)
    demo.page.wait_for_selector("[data-event=influx][aria-disabled=true]")
    demo.page.get_by_role("button", name="A crowd arrives").press("Enter")  # by keyboard, it says why not
    assert "begin another act" in demo.page.locator("#trouble").text_content()


def test_killing_a_logs_out_those_whose_login_it_had(demo: Demo) -> None:
    had = people_of(demo.state)["A"]
    demo.press("Kill A")
    demo.until(lambda state: state_of(state, "A") in {"dead", "starting"})
    after = demo.until(lambda state: state["figures"]["logouts"] >= had)
    assert after["figures"]["logouts"] == had
    demo.until(lambda state: state_of(state, "A") == "serving")
    assert "A was killed" in demo.page.locator("#diary li.logout").first.text_content()


def test_the_application_cookie_keeps_people_too_and_loses_them_with_a_drained_server(demo: Demo) -> None:
    before = demo.begin("Application cookie", "app_cookie")
    demo.press("Drain B")
    after = demo.until(lambda state: state["figures"]["logouts"] >= people_of(before)["B"])
    assert after["figures"]["logouts"] == people_of(before)["B"]
    assert state_of(after, "B") == "drained"
    assert people_of(after)["B"] == 0
    demo.press("Bring B back")
    demo.until(lambda state: state_of(state, "B") == "serving")


def test_stateless_nobody_is_out_whatever_happens(demo: Demo) -> None:
    demo.begin("Stateless", "stateless")
    demo.press("Kill A")
    demo.until(lambda state: state_of(state, "A") in {"dead", "starting"})
    demo.press("Drain B")
    demo.press("Add F")
    demo.until(lambda state: people_of(state).get("F"))
    demo.until(lambda state: state_of(state, "A") == "serving" and people_of(state)["A"])
    assert demo.state["figures"]["commands"] > 0
    demo.press("Stop the store for 3 s")
    silent = demo.until(
        lambda state: (
            state["store"]["is_silent"]
            and state["figures"]["failures"]  # that there may have been before, when A was killed
            and any(mood == "waiting" for *_, mood in state["people"])
        )
    )
    assert any(mood == "waiting" for *_, mood in silent["people"])
    demo.page.wait_for_selector("#store.silent")
    end = demo.until(
        lambda state: not state["store"]["is_silent"] and all(mood == "in" for *_, mood in state["people"])
    )
    assert end["figures"]["logouts"] == 0
    demo.picture("demo-cure.png", WIDE, is_dark=True)


def test_together_people_stay_and_move_without_a_logout(demo: Demo) -> None:
    demo.begin("Together", "together")
    demo.press("Drain B")
    demo.until(lambda state: not people_of(state)["B"])
    end = demo.until(lambda state: all(mood == "in" for *_, mood in state["people"]))
    assert end["figures"]["logouts"] == 0
    assert [act["mode"] for act in end["acts"]] == ["off", "lb_cookie", "app_cookie", "stateless", "together"]


def test_the_guide_goes_through_the_story(demo: Demo) -> None:
    page = demo.page
    assert page.locator("#step-part").text_content() == "Cure · 7 of 7"  # which explains what was chosen
    page.get_by_role("button", name="1. Problem: Logged out at random").click()
    demo.until(lambda state: (state["step"], state["mode"]) == (0, "off"))
    demo.press("Next: Sticky sessions")
    demo.until(lambda state: (state["step"], state["mode"]) == (1, "lb_cookie"))
    demo.press("Next: A crowd sticks where it arrived")
    demo.until(
        lambda state: state["figures"]["people"] == PEOPLE + CROWD and state_of(state, "C") == "serving"
    )
    demo.press("Next: A dies, and its logins with it")
    demo.until(lambda state: state["figures"]["logouts"])
    page.get_by_role("button", name="6. Cure: Now do your worst").click()
    demo.until(lambda state: state["mode"] == "stateless")
    page.get_by_role("button", name="7. Cure: Both together").click()
    demo.until(lambda state: state["mode"] == "together")
    page.wait_for_selector("#next[aria-disabled=true]")
    demo.press("Back")
    demo.until(lambda state: (state["step"], state["mode"]) == (5, "stateless"))


def test_a_visitor_sees_who_answered_and_which_cookies_the_browser_holds(demo: Demo) -> None:
    demo.begin("Duration cookie", "lb_cookie")
    with demo.page.context.expect_page() as opened:
        demo.page.get_by_role("link", name="Be a user").click()
    shop = opened.value
    demo.watch(shop)
    shop.wait_for_selector("h1.in")
    for number in (2, 3, 4):
        shop.get_by_role("link", name="Refresh").click()
        shop.wait_for_selector(f"#answers li:nth-child({number})")
    shop.wait_for_selector("#cookies tbody tr")
    answers = shop.locator("#answers li.in").all_text_contents()
    assert len(answers) == 4
    assert len(set(answers)) == 1
    held = {cookie["name"]: len(cookie["value"]) for cookie in shop.context.cookies()}
    rows = [row.locator("td").all_text_contents() for row in shop.locator("#cookies tbody tr").all()]
    assert {name: int(length) for name, length, *_ in rows} == held
    assert {"limpet", "shop_sid"} <= held.keys()
    assert all(len(value) <= 11 for _, _, value, _ in rows)
    demo.begin("No stickiness", "off")
    shop.reload()
    shop.wait_for_selector("#answers li:nth-child(5)")
    shop.close()


@pytest.mark.parametrize(
    "headers",
    [{"Origin": "http://elsewhere.example"}, {"Host": "elsewhere.example"}],
    ids=["another site", "another name for this address"],
)
def test_other_sites_cannot_play_with_it(demo: Demo, headers: dict[str, str]) -> None:
    assert httpx.post(f"{demo.url}/api/event/kill", headers=headers).status_code == 403
    assert (
        httpx.get(f"{demo.url}/api/cookies", headers={"Origin": "http://elsewhere.example"}).status_code
        == 403
    )


def test_what_is_not_there_is_told(demo: Demo) -> None:
    for path in ("api/event/nothing", "api/mode/nothing", "api/step/7"):
        assert httpx.post(f"{demo.url}/{path}").status_code == 404
    refused = httpx.post(f"{demo.url}/api/event/freeze")  # the act keeps logins in memory
    assert refused.status_code == 409
    assert "Nobody uses the store" in refused.json()["error"]


def test_it_fits_and_the_browser_has_nothing_to_complain_of(demo: Demo) -> None:
    for size in (WIDE, NARROW):
        demo.page.set_viewport_size(size)
        width = demo.page.evaluate("document.documentElement.scrollWidth")
        assert width <= size["width"]
    policy = httpx.get(demo.url).headers["content-security-policy"]
    assert "default-src 'none'" in policy
    assert "unsafe" not in policy
    assert demo.complaints == []

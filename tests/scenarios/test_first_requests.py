"""A browser's parallel first requests must not pin it to two replicas.

Every cookie jar ends with the answer that arrives last, so all orders of eight answers come to
this: the browser logs in with any one of the tickets, and goes on with any other.
"""

from __future__ import annotations

import http.client
from concurrent.futures import ThreadPoolExecutor
from itertools import product
from threading import Barrier
from urllib.parse import urlsplit

import httpx
import pytest

PARALLEL = 8
USER_AGENT = "Mozilla/5.0 (X11; Linux x86_64)"


@pytest.fixture(scope="module", params=["examples.flask_memory:app", "examples.fastapi_memory:app"])
def site(request, limpet) -> str:
    return limpet("serve", request.param, "--replicas", "3").url


def first_answers(url: str, path: str) -> list[str]:
    """Send the same request on eight connections at once; return the tickets."""
    address = urlsplit(url).netloc
    all_connected = Barrier(PARALLEL)

    def ask(_: int) -> str:
        connection = http.client.HTTPConnection(address)
        connection.connect()
        all_connected.wait()
        connection.request("GET", path, headers={"User-Agent": USER_AGENT})
        response = connection.getresponse()
        response.read()
        connection.close()
        assert response.status == 200
        return (response.getheader("Set-Cookie") or "").partition(";")[0].removeprefix("limpet=")

    with ThreadPoolExecutor(PARALLEL) as pool:
        return list(pool.map(ask, range(PARALLEL)))


@pytest.mark.parametrize("path", ["/", "/slow?seconds=0.2"])
def test_a_login_survives_every_order_of_the_first_answers(site: str, path: str) -> None:
    tickets = first_answers(site, path)
    assert all(tickets)
    with httpx.Client(base_url=site, headers={"User-Agent": USER_AGENT}) as client:
        for login, later in product(tickets, tickets):
            answer = client.post("/login?name=ada", headers={"Cookie": f"limpet={login}"})
            sid = answer.cookies["sid"]
            client.cookies.clear()
            page = client.get("/", headers={"Cookie": f"limpet={later}; sid={sid}"})
            client.cookies.clear()
            assert "Hello ada" in page.text

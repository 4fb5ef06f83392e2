"""The requests that are measured, and what their views do with a session, whoever keeps it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NamedTuple

if TYPE_CHECKING:
    from collections.abc import MutableMapping

#: What a shop keeps of somebody who is logged in: about 400 bytes in JSON.
FIELDS: dict[str, Any] = {
    "cart": {"apples": 2, "pears": 1, "codes": ["SPRING", "FRIEND"]},
    "csrf": "6f1b0c7e0d5a4f0e9d0a9b1c2d3e4f5061728394a5b6c7d8",
    "locale": "de_AT",
    "theme": "dark",
    "last_page": "/shop/fruit/apples?page=3&order=price",
    "seen": [10231, 20872, 30913, 40154, 55555, 60096],
    "count": 0,
}
SECRET = "a secret for measurements that is long enough"
#: The session of those who have none: a mapping that somebody else has filled.
BASELINE = "no sessions"


class Kind(NamedTuple):
    """A kind of request.

    Attributes:
        path: names the view.
        who: "nobody" comes without a cookie, "visitor" with the session of somebody who is not logged in and
            was never here before, "user" with that of a user.
    """

    name: str
    path: str
    who: str


_KINDS = (
    Kind("anonymous", "/home", "nobody"),
    Kind("untouched", "/untouched", "user"),
    Kind("read", "/read", "user"),
    Kind("write", "/write", "user"),
    Kind("login", "/login", "nobody"),
    Kind("visitor's login", "/login", "visitor"),
)
KINDS = {kind.name: kind for kind in _KINDS}


def home(session: MutableMapping[str, Any], user_field: str) -> str:
    """Greet; the page of somebody who need not be logged in."""
    return f"hello {session.get(user_field)}"


def read(session: MutableMapping[str, Any], user_field: str) -> str:
    """Read two fields."""
    return f"{session[user_field]} {len(session['cart'])}"


def write(session: MutableMapping[str, Any]) -> str:
    """Read a field and change it."""
    session["count"] += 1
    return str(session["count"])


def visit(session: MutableMapping[str, Any]) -> str:
    """Begin a session without a login."""
    session["cart"] = FIELDS["cart"]
    return "welcome"

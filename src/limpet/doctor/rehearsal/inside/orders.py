"""What the rehearsal and a replica tell each other, beside the app's own requests.

A request to `facts_path` is answered by `inside`, never by the app. A request to the app may carry
`ORDERS`, a header with the token and orders; the app never sees it.
"""

from __future__ import annotations

from dataclasses import dataclass

#: Environment variable with the token.
TOKEN_VARIABLE = "LIMPET_REHEARSAL_TOKEN"  # noqa: S105  # the variable's name
#: Environment variable with the key of the hashes that secrets are compared by.
HASH_KEY_VARIABLE = "LIMPET_REHEARSAL_HASH_KEY"
#: Response header with the name of the replica that answered.
REPLICA_HEADER = "Limpet-Replica"
#: Request header with orders.
ORDERS_HEADER = "X-Limpet-Rehearsal"


@dataclass(frozen=True, slots=True)
class Orders:
    """How a request shall be treated.

    Attributes:
        delay_s: how long its view takes longer than it would.
        is_plain: whether the server believes that it came without TLS, as servers do that were not
            told to trust the proxy in front.
    """

    delay_s: float = 0.0
    is_plain: bool = False

    def header(self, token: str) -> str:
        """Return the value of `ORDERS_HEADER`."""
        return f"{token};{self.delay_s:g};{int(self.is_plain)}"


def read_orders(value: str, token: str) -> Orders | None:
    """Return the orders in a header; None if it is not ours."""
    parts = value.split(";")
    if len(parts) != 3 or not token or parts[0] != token:
        return None
    return Orders(delay_s=float(parts[1]), is_plain=parts[2] == "1")


def facts_path(token: str) -> str:
    """Return the path at which a replica tells about itself; `?clock=SECONDS` sets its clock first."""
    return f"/.limpet-rehearsal/{token}"

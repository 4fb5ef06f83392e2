"""What calls of the admin API may say in their bodies."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, Strict

from limpet.config.compile import target_id
from limpet.config.value_types import Name, Whole
from limpet.core.address import parse_address
from limpet.core.target import Target


class _Body(BaseModel):
    model_config = ConfigDict(extra="forbid")


def _ip_address(text: str) -> str:
    address = parse_address(text, default_port=80)
    if address.is_name:
        raise ValueError("a DNS name can be given in the file only; write an IP address")
    if address.port == 0:
        raise ValueError(f"{text!r} has port 0; write the target's port")
    return text


class Nothing(_Body):
    """The body of a call that needs none."""


class AddTarget(_Body):
    """A target to register."""

    address: Annotated[str, AfterValidator(_ip_address)] = Field(
        description="`IP:PORT`, `[IPV6]:PORT` or `unix:/path`, perhaps after `http://` or `https://`."
    )
    name: Name | None = Field(None, description="Made from the address if absent.")
    weight: Whole = Field(1, ge=0, le=1000, description="Share of new sessions.")

    def target(self) -> Target:
        """Return the target."""
        address = parse_address(self.address, default_port=80)
        return Target(id=self.name or target_id(str(address)), address=address, weight=self.weight)


class SetWeight(_Body):
    """Another weight."""

    weight: Whole = Field(
        ge=0, le=1000, description="Share of new sessions; 0 keeps sessions and gets no new one."
    )


class SetMaintenance(_Body):
    """Out of service, or back."""

    on: Annotated[bool, Strict()] = Field(description="Whether the target is out of service.")


class RotateKeys(_Body):
    """One step of a change of the keys of tickets."""

    step: Literal["add", "promote", "retire"] = Field(
        description=(
            "`add` a new key last, on every balancer; then `promote` the last to the front, on every "
            "balancer; after the longest duration `retire` the last."
        )
    )

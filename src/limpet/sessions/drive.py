"""Drivers of flows: they perform operations with a store, blocking or not."""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol, TypeVar

from limpet.sessions.errors import StoreUnavailableError
from limpet.sessions.migration.source import OldOperation

if TYPE_CHECKING:
    from typing import Any

    from limpet.sessions.operations import Flow, Operation

A = TypeVar("A")
T = TypeVar("T")


class Performer(Protocol):
    """Who performs operations: a store, or what stands in front of it."""

    def run(self, operation: Operation[A]) -> A:
        """Perform an operation, blocking."""
        ...

    async def arun(self, operation: Operation[A]) -> A:
        """Perform an operation without blocking the event loop."""
        ...


def drive(flow: Flow[T], store: Performer) -> T:
    """Perform a flow's operations one after the other and return its result."""
    try:
        operation = next(flow)
        while True:
            try:
                answer = _place(operation, store).run(operation)
            except StoreUnavailableError as error:
                operation = flow.throw(error)
            else:
                operation = flow.send(answer)
    except StopIteration as stop:
        result: T = stop.value
        return result


async def adrive(flow: Flow[T], store: Performer) -> T:
    """Do what `drive` does without blocking the event loop."""
    try:
        operation = next(flow)
        while True:
            try:
                answer = await _place(operation, store).arun(operation)
            except StoreUnavailableError as error:
                operation = flow.throw(error)
            else:
                operation = flow.send(answer)
    except StopIteration as stop:
        result: T = stop.value
        return result


def _place(operation: Operation[Any], store: Performer) -> Performer:
    return operation.guard if isinstance(operation, OldOperation) else store

"""Drivers of flows: they perform operations with a store, blocking or not."""

from __future__ import annotations

from typing import TYPE_CHECKING, TypeVar

from limpet.sessions.errors import StoreUnavailableError
from limpet.sessions.migration.source import OldOperation

if TYPE_CHECKING:
    from typing import Any

    from limpet.sessions.operations import Flow, Operation
    from limpet.sessions.stores import Store

T = TypeVar("T")


def drive(flow: Flow[T], store: Store) -> T:
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


async def adrive(flow: Flow[T], store: Store) -> T:
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


def _place(operation: Operation[Any], store: Store) -> Store:
    return operation.guard if isinstance(operation, OldOperation) else store

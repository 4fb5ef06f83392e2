"""The admin listener: JSON for `limpet status` and its like, and metrics."""

from limpet.control.admin.server import AdminServer

__all__ = ["AdminServer"]

"""The demo's page: one HTML page with its state API, served from limpet's process."""

from limpet.demo.page.server import PageServer

__all__ = ["PageServer"]

"""limpet: users are never randomly logged out when a web app runs on several servers."""

__version__ = "0.1.0"

"""The one page that both examples show."""

import os
from html import escape

#: `limpet serve` names each copy of the app: A, B, C, ...
REPLICA = os.environ.get("LIMPET_REPLICA", "alone")

_PAGE = """<!doctype html>
<html lang="en"><head><meta charset="utf-8"><title>limpet example</title>
<link rel="stylesheet" href="/static/style.css"></head>
<body><h1>{greeting}</h1><p>This is replica {replica}, process {process}.</p>{form}</body></html>
"""
_LOG_IN = '<form method="post" action="/login"><input name="name"><button>log in</button></form>'
_LOG_OUT = '<form method="post" action="/logout"><button>log out</button></form>'


def page(name: str | None) -> str:
    """Return the page for a user, or for somebody who is logged out (None)."""
    greeting = "You are logged out" if name is None else f"Hello {escape(name)}"
    form = _LOG_IN if name is None else _LOG_OUT
    return _PAGE.format(greeting=greeting, replica=REPLICA, process=os.getpid(), form=form)

"""The `limpet` command.

To add a command: a file here and a line in `COMMANDS`.
"""

from __future__ import annotations

import importlib
from typing import cast

import click

from limpet import __version__

#: Commands in the order in which help shows them, with their modules. A module is imported when
#: its command is used, so that `limpet status` does not wait for what only `limpet up` needs.
COMMANDS: dict[str, str] = {
    "demo": "limpet.cli.demo",
    "serve": "limpet.cli.serve",
    "up": "limpet.cli.up",
    "check": "limpet.cli.check",
    "status": "limpet.cli.status",
    "top": "limpet.cli.top",
    "explain": "limpet.cli.explain",
    "drain": "limpet.cli.drain",
    "add": "limpet.cli.add",
    "remove": "limpet.cli.remove",
    "weight": "limpet.cli.weight",
    "reload": "limpet.cli.reload",
    "sessions": "limpet.cli.sessions",
    "doctor": "limpet.cli.doctor",
}


class _Commands(click.Group):
    def list_commands(self, ctx: click.Context) -> list[str]:
        del ctx
        return list(COMMANDS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        del ctx
        if cmd_name not in COMMANDS:
            return None
        return cast("click.Command", getattr(importlib.import_module(COMMANDS[cmd_name]), cmd_name))


@click.group(cls=_Commands, context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(__version__, message="limpet %(version)s")
def main() -> None:
    """Balance HTTP over several servers without logging anybody out.

    Exit codes: 0 done, 1 findings or a failed job, 2 usage or configuration, 3 the doctor saw too
    little to judge, 4 a site, the admin listener or the session store cannot be reached.
    """

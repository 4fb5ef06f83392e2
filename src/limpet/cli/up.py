"""`limpet up`: balance over servers that run already."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from limpet.cli.balance_options import balance_options, flags
from limpet.cli.output import EXIT_USAGE, counted, fail, say, told_problems
from limpet.cli.start_up import announce
from limpet.config.flags import settings_from_flags
from limpet.config.load import read_file
from limpet.control.balancer import all_warnings
from limpet.control.run import run

if TYPE_CHECKING:
    from limpet.config.schema import Settings

_DEFAULT_CONFIG = Path("limpet.toml")


@click.command()
@click.argument("config", type=click.Path(path_type=Path), required=False)
@click.option(
    "--target", "targets", multiple=True, metavar="URL", help="A server to balance over; repeatable."
)
@click.option("--check", is_flag=True, help="Only say whether the configuration is right.")
@balance_options
def up(config: Path | None, targets: tuple[str, ...], check: bool, **given: Any) -> None:
    """Balance over servers that run already.

    They come from CONFIG (limpet.toml if it is there), from --target, or both: options replace
    what the file says.

    SIGTERM and Ctrl-C let requests finish; SIGHUP or a change of the file reloads it; SIGUSR1
    reopens the access log.
    """
    if config is None and not targets:
        config = _DEFAULT_CONFIG if _DEFAULT_CONFIG.exists() else None
        if config is None:
            fail(
                "there is nothing to balance over; add --target URL, or name a configuration file", EXIT_USAGE
            )
    asked = flags(targets, given)

    def load() -> Settings:
        return settings_from_flags(asked, read_file(config) if config is not None else None)

    with told_problems():
        settings = load()
        if check:
            for warning in all_warnings(settings):
                say(f"warning: {warning}")
            count = sum(len(group.targets) for group in settings.target_groups.values())
            click.echo(f"{config or 'the command line'}: no mistakes; {counted(count, 'target')}")
            return
        sys.exit(run(load, on_ready=announce(None), on_message=say, config_file=config))

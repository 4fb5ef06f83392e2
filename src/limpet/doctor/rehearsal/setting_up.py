"""Makes what a rehearsal needs before it begins: a user who can log in.

Theory of operation. A function of the app's author (or `django_user`) runs in a process of its own,
with the app's environment, after the app has been imported there: what it needs is set up then, and
nothing of it gets into limpet's process. It returns the fields of the login: `username` and `password`
go where a form asks for them, others by their names. A generator function yields them, and goes on
when the rehearsal is over, to clean up. The process ends itself when its standard input does, so that
it does not outlive limpet.
"""

from __future__ import annotations

import asyncio
import contextlib
import inspect
import json
import os
import sys
from typing import TYPE_CHECKING, Any

from limpet.errors import LimpetError
from limpet.replicas.app import load_app

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Mapping

#: How long it may take.
_TIMEOUT_S = 60.0


class SetUpError(LimpetError):
    """Setting up failed; the message says why."""


@contextlib.asynccontextmanager
async def setting_up(app: str, function: str, environ: Mapping[str, str]) -> AsyncIterator[dict[str, str]]:
    """Run a function `MODULE:FUNCTION`, give the fields that it returns, and let it clean up.

    Raises:
        SetUpError: it failed, or what it returned is no table of texts.
    """
    reading, writing = os.pipe()
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "limpet.doctor.rehearsal.setting_up", app, function, str(writing)),
        stdin=asyncio.subprocess.PIPE,
        stdout=asyncio.subprocess.DEVNULL,
        stderr=asyncio.subprocess.PIPE,
        pass_fds=[writing],
        env={**os.environ, **environ},
    )
    os.close(writing)
    try:
        async with asyncio.timeout(_TIMEOUT_S):
            said = await asyncio.to_thread(_read_all, reading)
            if not said:
                _, errors = await process.communicate()
                raise SetUpError(f"--setup {function} failed:\n{errors.decode('utf-8', 'replace').rstrip()}")
        yield _fields(json.loads(said), function)
    except TimeoutError:
        raise SetUpError(f"--setup {function} did not end within {_TIMEOUT_S:g} s") from None
    finally:
        await _end(process)


def _fields(value: Any, function: str) -> dict[str, str]:
    if value is None:
        return {}
    if not isinstance(value, dict):
        raise SetUpError(f"--setup {function} returned a {type(value).__name__}; return the fields as a dict")
    return {str(name): str(each) for name, each in value.items()}


def _read_all(descriptor: int) -> bytes:
    with os.fdopen(descriptor, "rb") as pipe:
        return pipe.read()


async def _end(process: asyncio.subprocess.Process) -> None:
    if process.stdin is not None:
        process.stdin.close()  # the sign that it is over
    with contextlib.suppress(TimeoutError):
        async with asyncio.timeout(_TIMEOUT_S):
            await process.communicate()
            return
    with contextlib.suppress(ProcessLookupError):
        process.kill()
    await process.wait()


def main() -> None:
    """Run as `python -m`: APP, MODULE:FUNCTION, and the descriptor that gets the result."""
    app, name, descriptor = sys.argv[1:]
    if sys.path[0] != os.getcwd():  # noqa: PTH109  # left out by python -P and PYTHONSAFEPATH
        sys.path.insert(0, os.getcwd())  # noqa: PTH109
    try:
        load_app(app)
        function = load_app(name)
        made = function()
    except LimpetError as error:
        sys.stderr.write(f"{error}\n")
        raise SystemExit(1) from None
    fields = next(made) if inspect.isgenerator(made) else made
    with os.fdopen(int(descriptor), "wb") as pipe:
        pipe.write(json.dumps(fields).encode())
    sys.stdin.read()  # until the rehearsal is over
    if inspect.isgenerator(made):
        next(made, None)


if __name__ == "__main__":
    main()

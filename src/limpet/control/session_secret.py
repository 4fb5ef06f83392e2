"""Where the secret of sessions comes from: the environment, or a file made at first start.

A secret that changes logs everyone out, so one that limpet makes is made once and kept.
"""

from __future__ import annotations

import os
import secrets
from contextlib import suppress
from typing import TYPE_CHECKING, NamedTuple

from limpet.control.keys import make_once, state_folder
from limpet.errors import ConfigError, KeyRingError
from limpet.sessions.service import SECRET_VARIABLE
from limpet.sessions.session_id import parse_secrets

if TYPE_CHECKING:
    from pathlib import Path

_SECRET_BYTES = 32


class SessionSecret(NamedTuple):
    """One or several secrets, as `LIMPET_SECRET` holds them.

    Attributes:
        origin: where they came from, for people.
        is_lasting: whether the next start finds them again.
    """

    text: str
    origin: str
    is_lasting: bool


def load_session_secret() -> SessionSecret:
    """Return the secret for apps that limpet runs; without one, make one and keep it.

    Raises:
        ConfigError: a variable or file that holds no usable secret.
    """
    text = os.environ.get(SECRET_VARIABLE, "")
    if text.strip():
        return SessionSecret(_checked(text, SECRET_VARIABLE), f"${SECRET_VARIABLE}", True)
    made = secrets.token_urlsafe(_SECRET_BYTES)
    try:
        path = default_path()
        make_once(path, f"{made}\n")
    except (OSError, RuntimeError):  # RuntimeError: the user has no home
        return SessionSecret(made, "memory", False)
    return SessionSecret(read_session_secret(path), str(path), True)


def find_session_secret() -> SessionSecret:
    """Return the secret of apps that run here, for commands beside them; makes none.

    Whether an app has the one that serve keeps, nobody can tell: it may have its own in its code.

    Raises:
        ConfigError: there is none, or no usable one.
    """
    text = os.environ.get(SECRET_VARIABLE, "")
    if text.strip():
        return SessionSecret(_checked(text, SECRET_VARIABLE), f"${SECRET_VARIABLE}", True)
    with suppress(RuntimeError):
        if default_path().exists():
            return SessionSecret(read_session_secret(default_path()), str(default_path()), True)
    raise ConfigError(
        [f"sessions.secret: there is none; give the app's in {SECRET_VARIABLE} or with --secret-file"]
    )


def default_path() -> Path:
    """Return where a secret that limpet made is kept."""
    return state_folder() / "session-secret"


def read_session_secret(path: Path) -> str:
    """Return the secrets in a file: newest first, one a line.

    Raises:
        ConfigError: it cannot be read, or holds no usable secret.
    """
    try:
        text = path.read_bytes().decode()
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigError([f"sessions.secret: {str(path)!r} cannot be read ({error}); correct it"]) from None
    return _checked(text, str(path))


def _checked(text: str, where: str) -> str:
    try:
        parse_secrets(text)
    except KeyRingError as error:
        raise ConfigError([f"sessions.secret: {where}: {error}"]) from None
    return text.strip()

"""Where the keys of tickets come from: the environment, a file, or a file made at first start."""

from __future__ import annotations

import contextlib
import os
import secrets
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

from limpet.core.key_ring import generate_key, parse_key_ring
from limpet.errors import ConfigError, KeyRingError

if TYPE_CHECKING:
    from limpet.config.schema import KeySettings
    from limpet.core.key_ring import KeyRing


class LoadedKeys(NamedTuple):
    """A ring and where it came from, for the start-up summary."""

    ring: KeyRing
    origin: str
    is_lasting: bool


def load_keys(settings: KeySettings, current: LoadedKeys | None = None) -> LoadedKeys:
    """Read the keys.

    Args:
        current: the keys in use; they go on in memory where new ones would have to be made,
            because a new key unpins every session.

    Raises:
        ConfigError: the variable or file that was configured, or the file that was made at the
            first start, holds no usable keys.
    """
    text = os.environ.get(settings.env)
    if text is not None:
        return LoadedKeys(_parse(text, f"environment variable {settings.env}"), f"${settings.env}", True)
    if settings.file is not None:
        return LoadedKeys(
            _parse(_read(settings.file), f"keys.file {settings.file}"), str(settings.file), True
        )
    try:
        path = default_path()
        if current is None:
            make_once(path, f"# Keys of limpet's tickets, newest first.\n{generate_key(os.urandom)}\n")
        return LoadedKeys(_parse(path.read_bytes().decode(), str(path)), str(path), True)
    except UnicodeDecodeError:
        raise ConfigError([f"{path}: is not UTF-8; restore it, or remove it to get a new key"]) from None
    except (OSError, RuntimeError):  # RuntimeError: the user has no home
        ring = parse_key_ring(generate_key(os.urandom)) if current is None else current.ring
        return LoadedKeys(ring, "memory", False)


def rotate(keys: LoadedKeys, step: str) -> list[str]:
    """Take one step of a change of keys, in the file that they came from.

    Args:
        keys: the keys in use.
        step: `add` a new key last, `promote` the last to the front, or `retire` the last.

    Returns:
        The ids of the keys in the file now, newest first.

    Raises:
        ConfigError: they came from no file, it cannot be written, or there are too few keys.
    """
    path = Path(keys.origin)
    if not path.is_absolute() and not path.is_file():
        raise ConfigError([f"keys: they come from {keys.origin}, not from a file; change them there"])
    words = [line.partition("#")[0].strip() for line in _read(path).splitlines()]
    lines = [word for word in words if word]
    if step == "add":
        lines.append(generate_key(os.urandom))
    elif len(lines) < 2:
        raise ConfigError([f"keys: {path} holds one key only; add another one first"])
    else:
        last = lines.pop()
        lines = [last, *lines] if step == "promote" else lines
    text = "# Keys of limpet's tickets, newest first.\n" + "".join(f"{line}\n" for line in lines)
    ring = _parse(text, str(path))
    _replace(path, text)
    return [id_.hex() for id_ in ring.ordered_ids]


def _replace(path: Path, text: str) -> None:
    # Readers see the old file or the new one; and the new one is not for everybody, either.
    draft = path.with_name(f"{path.name}.{secrets.token_hex(4)}")
    try:
        descriptor = os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_EXCL, path.stat().st_mode & 0o777)
        with os.fdopen(descriptor, "w") as file:
            file.write(text)
            file.flush()
            os.fsync(file.fileno())
        draft.replace(path)
    except OSError as error:
        draft.unlink(missing_ok=True)
        raise ConfigError(
            [f"keys: {path} cannot be written ({error.strerror}); correct its rights"]
        ) from None


def default_path() -> Path:
    """Return where keys are kept if none are configured."""
    return state_folder() / "ticket-keys"


def state_folder() -> Path:
    """Return where limpet keeps what it has made for itself.

    Raises:
        RuntimeError: the user has no home.

    Source: XDG Base Directory Specification 0.8, `XDG_STATE_HOME`.
    """
    state = os.environ.get("XDG_STATE_HOME")
    base = Path(state) if state else Path.home() / ".local" / "state"
    return base / "limpet"


def make_once(path: Path, text: str) -> None:
    """Make a file that only its owner reads, unless it is there; who starts at once gets the same.

    Raises:
        OSError: it cannot be made.
    """
    # Written beside and linked into place, so nobody ever reads half of it.
    if path.exists():
        return
    path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
    draft = path.with_name(f"{path.name}.{secrets.token_hex(4)}")
    descriptor = os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
    try:
        os.write(descriptor, text.encode())
        os.fsync(descriptor)
        with contextlib.suppress(FileExistsError):
            os.link(draft, path)
    finally:
        os.close(descriptor)
        draft.unlink()


def _read(path: Path) -> str:
    try:
        return path.read_bytes().decode()
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigError([f"keys.file: {str(path)!r} cannot be read ({error}); correct it"]) from None


def _parse(text: str, where: str) -> KeyRing:
    try:
        return parse_key_ring(text)
    except KeyRingError as error:
        raise ConfigError([f"{where}: {error}"]) from None

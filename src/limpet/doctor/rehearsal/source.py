"""Reads an app's source for the lines that findings point at. Nothing is run.

Reading proves nothing: a secret made at import may have another from the environment in production, a
dictionary may be a cache. So these are facts with a place, and only what was seen happen makes a
finding of them.
"""

from __future__ import annotations

import ast
import re
from typing import TYPE_CHECKING

from limpet.doctor.evidence import SourceFact

if TYPE_CHECKING:
    from collections.abc import Iterator

_SECRET = re.compile(r"secret|(jwt|signing|session|cookie|token|hmac|fernet)_?key", re.IGNORECASE)
_LOGOUT = re.compile(r"log-?_?out|sign-?_?out", re.IGNORECASE)
#: Functions that answer something else in each process.
_RANDOM = frozenset(
    {
        *(
            "urandom",
            "token_bytes",
            "token_hex",
            "token_urlsafe",
            "uuid1",
            "uuid4",
            "randbytes",
            "getrandbits",
        ),
        *("randint", "random", "choice", "choices", "get_random_secret_key", "get_random_string"),
        *("generate_key", "gen_salt", "getpid", "time_ns"),
    }
)
_CONTAINERS = frozenset(
    {
        "dict",
        "list",
        "set",
        "defaultdict",
        "OrderedDict",
        "deque",
        "WeakValueDictionary",
        "TTLCache",
        "LRUCache",
    }
)
_FILLING = frozenset(["add", "append", "update", "setdefault", "appendleft", "insert", "extend"])
_COOKIE_CALLS = frozenset({"set_cookie", "set_signed_cookie"})
_COOKIE_SETTING = re.compile(
    r"(SESSION|CSRF|REMEMBER)_COOKIE_(SAMESITE|SECURE|NAME|PATH|DOMAIN|AGE)|SESSION_ENGINE"
)


def read_source(path: str, text: str) -> tuple[SourceFact, ...]:
    """Return what a file says about secrets, memory and cookies, in the order of its lines.

    Args:
        path: as it is to be shown.
        text: the file; one that is no Python of ours has no facts.
    """
    try:
        tree = ast.parse(text)
    except SyntaxError:
        return ()
    found = [*_secrets(tree), *_memory(tree), *_cookies(tree), *_logouts(tree)]
    facts = {
        (kind, line): SourceFact(kind=kind, path=path, line=line, detail=detail)
        for kind, line, detail in found
    }
    return tuple(sorted(facts.values(), key=lambda fact: fact.line))


def line_of(text: str, name: str) -> int | None:
    """Return the line on which a module gives a global its value first; None if it does not."""
    try:
        tree = ast.parse(text)
    except SyntaxError:
        return None
    for node in tree.body:
        for target, _ in _assigned(node):
            if isinstance(target, ast.Name) and target.id == name:
                return node.lineno
    return None


_Fact = tuple[str, int, str]


def _secrets(tree: ast.Module) -> Iterator[_Fact]:
    # `key = secrets.token_hex()` and then `app.secret_key = key`: the first is the line to change.
    random_names = {
        target.id: value.lineno
        for node in ast.walk(tree)
        for target, value in _assigned(node)
        if isinstance(target, ast.Name) and _is_random(value)
    }
    for node in ast.walk(tree):
        for name, value in _named_values(node):
            if not _SECRET.search(name):
                continue
            if _is_random(value):
                yield "secret_made_at_import", value.lineno, f"{name} is made anew by every process"
            elif isinstance(value, ast.Name) and value.id in random_names:
                line = random_names[value.id]
                yield (
                    "secret_made_at_import",
                    line,
                    f"{value.id}, used as {name}, is made anew by every process",
                )


def _memory(tree: ast.Module) -> Iterator[_Fact]:
    lines = {
        target.id: node.lineno
        for node in tree.body
        for target, value in _assigned(node)
        if isinstance(target, ast.Name) and _is_container(value)
    }
    for function in ast.walk(tree):
        if isinstance(function, (ast.FunctionDef, ast.AsyncFunctionDef)):
            for node in ast.walk(function):
                name = _filled(node)
                if name in lines:
                    yield (
                        "memory_state",
                        lines[name],
                        f"{name} is filled by requests, in the memory of one process",
                    )


def _cookies(tree: ast.Module) -> Iterator[_Fact]:
    for node in ast.walk(tree):
        if isinstance(node, ast.Call) and _called(node) in _COOKIE_CALLS:
            yield "cookie_flags", node.lineno, f"sets the cookie {_first_text(node)!r}"
        elif isinstance(node, ast.Call) and _mentions(node, "SessionMiddleware"):
            yield "cookie_flags", node.lineno, "makes the session cookie"
        for name, value in _named_values(node):
            if _COOKIE_SETTING.fullmatch(name):
                yield "cookie_flags", value.lineno, f"{name} of the session cookie"


def _logouts(tree: ast.Module) -> Iterator[_Fact]:
    for node in ast.walk(tree):
        if isinstance(node, ast.Call) and _called(node) in {"route", "get", "path", "re_path", "Route"}:
            text = _first_text(node)
            if _LOGOUT.search(text):
                yield "logout_route", node.lineno, f"logs out at {text!r}"


def _assigned(node: ast.AST) -> Iterator[tuple[ast.expr, ast.expr]]:
    if isinstance(node, ast.Assign):
        for target in node.targets:
            yield target, node.value
    elif isinstance(node, (ast.AnnAssign, ast.NamedExpr)) and node.value is not None:
        yield node.target, node.value


def _named_values(node: ast.AST) -> Iterator[tuple[str, ast.expr]]:
    # Names get values by assignment to a name, an attribute or a key, as arguments, and in dictionaries.
    for target, value in _assigned(node):
        if isinstance(target, ast.Name):
            yield target.id, value
        elif isinstance(target, ast.Attribute):
            yield target.attr, value
        elif isinstance(target, ast.Subscript) and isinstance(target.slice, ast.Constant):
            yield str(target.slice.value), value
    if isinstance(node, ast.keyword) and node.arg is not None:
        yield node.arg, node.value
    elif isinstance(node, ast.Dict):
        for key, each in zip(node.keys, node.values, strict=True):
            if isinstance(key, ast.Constant):
                yield str(key.value), each


def _is_random(value: ast.expr) -> bool:
    return any(isinstance(node, ast.Call) and _called(node) in _RANDOM for node in ast.walk(value))


def _is_container(value: ast.expr) -> bool:
    if isinstance(value, (ast.Dict, ast.List, ast.Set)):
        return True
    return isinstance(value, ast.Call) and _called(value) in _CONTAINERS


def _filled(node: ast.AST) -> str:
    # The name of the container that a statement puts something into; "" for none.
    for target, _ in _assigned(node):
        if isinstance(target, ast.Subscript) and isinstance(target.value, ast.Name):
            return target.value.id
    if (
        isinstance(node, ast.Call)
        and isinstance(node.func, ast.Attribute)
        and node.func.attr in _FILLING
        and isinstance(node.func.value, ast.Name)
    ):
        return node.func.value.id
    return ""


def _called(node: ast.Call) -> str:
    if isinstance(node.func, ast.Attribute):
        return node.func.attr
    return node.func.id if isinstance(node.func, ast.Name) else ""


def _first_text(node: ast.Call) -> str:
    values = [*node.args, *(each.value for each in node.keywords if each.arg in {"key", "name", "path"})]
    return next((str(each.value) for each in values if isinstance(each, ast.Constant)), "")


def _mentions(node: ast.Call, name: str) -> bool:
    return _called(node) == name or any(isinstance(each, ast.Name) and each.id == name for each in node.args)

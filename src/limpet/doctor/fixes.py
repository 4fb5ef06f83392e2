"""What to do, with an example for the framework or balancer that was recognised.

Keyed by the names that fingerprints give; a check asks for a remedy and gets the general sentence and
the lines that fit.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Collection, Mapping

_SHARED_SECRET = {
    "Flask": 'app.secret_key = os.environ["SECRET_KEY"]',
    "Starlette": 'app.add_middleware(SessionMiddleware, secret_key=os.environ["SECRET_KEY"])',
    "Django": 'SECRET_KEY = os.environ["SECRET_KEY"]',
    "Rails": "set SECRET_KEY_BASE in the environment, or share config/credentials and its master key",
    "ASP.NET Core": "services.AddDataProtection().PersistKeysTo...().SetApplicationName(...)",
    "Express": "session({ secret: process.env.SESSION_SECRET, ... })",
    "Laravel": "set one APP_KEY for every server",
    "JWT": "read the signing key from the environment, not from a random call at start",
}

_SHARED_STORE = {
    "Flask": 'LimpetSessions(app)  # from limpet.sessions.flask, with LIMPET_SESSION_STORE="redis://..."',
    "Starlette": "app.add_middleware(SessionMiddleware)  # from limpet.sessions.asgi",
    "Django": 'SESSION_ENGINE = "limpet.sessions.django"  # or django.contrib.sessions.backends.cached_db',
    "Express": "session({ store: new RedisStore({ client }), ... })",
    "PHP": 'session.save_handler = redis, session.save_path = "tcp://redis:6379"',
    "Java servlet": "use Spring Session, or the container's session replication",
    "Rails": "config.session_store :cookie_store, or :redis_store with one Redis",
}

_TRUST_PROXY = {
    "Flask": "app.wsgi_app = ProxyFix(app.wsgi_app, x_for=1, x_proto=1, x_host=1)",
    "Starlette": "uvicorn --proxy-headers --forwarded-allow-ips=ADDRESS_OF_THE_PROXY",
    "Django": 'SECURE_PROXY_SSL_HEADER = ("HTTP_X_FORWARDED_PROTO", "https")',
    "Express": 'app.set("trust proxy", 1)',
    "Laravel": "list the proxy in TrustProxies",
    "gunicorn": "gunicorn --forwarded-allow-ips=ADDRESS_OF_THE_PROXY",
}


def shared_secret(products: Collection[str]) -> str:
    """Return how to give every process the same key."""
    return _with_examples(
        "Make the key once, keep it in the environment, and give every process the same",
        products,
        _SHARED_SECRET,
    )


def shared_store(products: Collection[str]) -> str:
    """Return how to keep sessions where every process reads them."""
    return _with_examples(
        "Keep sessions in a store that every process reads (Redis, a database); stickiness only hides this",
        products,
        _SHARED_STORE,
    )


def trust_proxy(products: Collection[str]) -> str:
    """Return how to make an app believe that its users come by https."""
    return _with_examples(
        "Pass X-Forwarded-Proto through every hop, and let the app trust it", products, _TRUST_PROXY
    )


def _with_examples(sentence: str, products: Collection[str], examples: Mapping[str, str]) -> str:
    known = [f"  {name}: {line}" for name, line in examples.items() if _is_named(name, products)]
    return "\n".join([sentence, *known])


def _is_named(name: str, products: Collection[str]) -> bool:
    return any(product == name or product.startswith(f"{name} ") for product in products)

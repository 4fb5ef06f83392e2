"""A Django shop in one file that keeps its logins and carts in a store that every copy of it reads.

Any copy may answer, and any copy may die, and nobody is logged out:

    limpet serve examples.django_shared:app --session-store sqlite:///sessions.db --stickiness off

It has no database of users, so it logs in with limpet's own `login`. An app that has one changes
nothing: the `login()` and `logout()` of `django.contrib.auth` bind and end the session.
"""

import os
import secrets
import time
from html import escape

from django.conf import settings
from django.core.wsgi import get_wsgi_application
from django.http import HttpRequest, HttpResponse, HttpResponseRedirect
from django.urls import path
from django.views.decorators.http import require_POST

settings.configure(
    ALLOWED_HOSTS=["127.0.0.1", "localhost"],
    MIDDLEWARE=["django.middleware.common.CommonMiddleware", "limpet.sessions.django.SessionMiddleware"],
    ROOT_URLCONF=__name__,
    SECRET_KEY=secrets.token_urlsafe(),  # sessions have LIMPET_SECRET
    SESSION_ENGINE="limpet.sessions.django",  # and LIMPET_SESSION_STORE
)

REPLICA = os.environ.get("LIMPET_REPLICA", "alone")  # `limpet serve` names each copy: A, B, C, ...
LOG_IN = '<form method="post" action="/login"><input name="name"><button>log in</button></form>'
SHOP = """<p>Your cart holds {cart} things.</p>
<form method="post" action="/cart"><button>put a thing in the cart</button></form>
<form method="post" action="/logout"><button>log out</button></form>"""
PAGE = """<!doctype html><meta charset="utf-8"><title>limpet example</title>
<h1>{greeting}</h1><p>This is replica {replica}, process {process}.</p>{body}"""


def page(greeting: str, body: str) -> HttpResponse:
    """Return a page that says who made it."""
    return HttpResponse(PAGE.format(greeting=greeting, replica=REPLICA, process=os.getpid(), body=body))


def home(request: HttpRequest) -> HttpResponse:
    """Greet whoever is logged in."""
    session = request.session.limpet
    if session.user_id is None:
        return page("You are logged out", LOG_IN)
    return page(f"Hello {escape(session.user_id)}", SHOP.format(cart=session.get("cart", 0)))


@require_POST
def login(request: HttpRequest) -> HttpResponse:
    """Log in under any name, given in the form or in the query."""
    name = request.POST.get("name") or request.GET.get("name", "somebody")
    request.session.limpet.login(name)
    return see_home()


@require_POST
def put_in_cart(request: HttpRequest) -> HttpResponse:
    """Put a thing in the cart; two requests at once put in two."""
    session = request.session.limpet
    if session.user_id is None:
        return HttpResponse("Please log in.\n", status=403)
    session.incr("cart")
    return see_home()


@require_POST
def logout(request: HttpRequest) -> HttpResponse:
    """End the session, on every server."""
    request.session.flush()
    return see_home()


def slow(request: HttpRequest) -> HttpResponse:
    """Answer after some seconds, e.g. /slow?seconds=2."""
    time.sleep(min(float(request.GET.get("seconds", "1")), 30))
    return HttpResponse("done\n", content_type="text/plain")


def see_home() -> HttpResponse:
    """Send the browser to the front page with a GET."""
    return HttpResponseRedirect("/", status=303)


urlpatterns = [
    path("", home),
    path("login", login),
    path("cart", put_in_cart),
    path("logout", logout),
    path("slow", slow),
]
app = get_wsgi_application()

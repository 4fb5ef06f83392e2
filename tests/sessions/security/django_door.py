"""The door's site under Django: its URL configuration and its one view."""

from __future__ import annotations

from typing import Any

from django.contrib.auth import get_user_model, login, logout
from django.http import HttpRequest, JsonResponse
from django.urls import re_path
from doors import ACTS, CARELESS


def serve(request: HttpRequest, path: str) -> JsonResponse:
    return JsonResponse(_act(request, path), safe=False, headers=CARELESS)


def _act(request: Any, path: str) -> Any:
    match path.split("/"):
        case ["do", act]:
            return ACTS[act](request.session)
        case ["pin"]:
            request.session.limpet.pin("upload")
        case ["unpin"]:
            request.session.limpet.unpin()
        case ["login", user]:
            login(request, get_user_model().objects.get(pk=user))
        case ["logout"]:
            logout(request)
        case ["state"]:
            user = str(request.user.pk) if request.user.is_authenticated else None
            return {"user": user, "n": request.session.get("n")}
    return None


urlpatterns = [re_path("^(.*)$", serve)]

"""Blocking views."""

from __future__ import annotations

import os

import django_project
from django.contrib.auth import get_user_model, login, logout, update_session_auth_hash
from django.http import JsonResponse
from django.views.decorators.csrf import csrf_exempt


def begin(request):
    request.session["mine"] = 0
    return JsonResponse({})


def log_in(request, user):
    login(request, get_user_model().objects.get(pk=user))
    return JsonResponse({})


def log_out(request):
    logout(request)
    return JsonResponse({})


def log_out_and_fail(request):
    logout(request)
    raise ValueError


def rotate(request):
    request.session.cycle_key()
    return JsonResponse({})


def write(request):
    request.session["theirs"] = 1
    return JsonResponse({})


def slow_read(request):
    request.session.get("mine")
    django_project.gate.hold()
    return JsonResponse({})


def slow_write(request):
    request.session.get("mine")
    django_project.gate.hold()
    request.session["mine"] = 2
    return JsonResponse({})


def slow_user(request):
    _ = request.session.get("mine")
    django_project.gate.hold()
    return JsonResponse({"user": str(request.user.pk) if request.user.pk else None})


def state(request):
    user, session = request.user, request.session
    return JsonResponse(
        {
            "user": str(user.pk) if user.is_authenticated else None,
            "mine": session.get("mine"),
            "theirs": session.get("theirs"),
        }
    )


def untouched(_request):
    return JsonResponse({})


def nested(request):
    request.session.setdefault("cart", {"apples": 0})["apples"] += 1
    return JsonResponse(request.session["cart"])


def fails(request):
    request.session["mine"] = 3
    raise ValueError


@csrf_exempt
def password(request):
    user = request.user
    user.set_password(django_project.PASSWORD)
    user.save()
    update_session_auth_hash(request, user)
    return JsonResponse({})


def process(_request):
    return JsonResponse({"pid": os.getpid()})


ROUTES = {
    "begin": begin,
    "login/<user>": log_in,
    "logout": log_out,
    "logout-and-fail": log_out_and_fail,
    "rotate": rotate,
    "write": write,
    "slow-read": slow_read,
    "slow-write": slow_write,
    "slow-user": slow_user,
    "state": state,
    "untouched": untouched,
    "nested": nested,
    "fails": fails,
    "password": password,
    "process": process,
}

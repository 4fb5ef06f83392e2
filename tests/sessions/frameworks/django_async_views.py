"""The same views for an event loop."""

from __future__ import annotations

import django_project
from django.contrib.auth import alogin, alogout, get_user_model
from django.http import JsonResponse


async def begin(request):
    await request.session.aset("mine", 0)
    return JsonResponse({})


async def log_in(request, user):
    await alogin(request, await get_user_model().objects.aget(pk=user))
    return JsonResponse({})


async def log_out(request):
    await alogout(request)
    return JsonResponse({})


async def rotate(request):
    await request.session.acycle_key()
    return JsonResponse({})


async def write(request):
    await request.session.aset("theirs", 1)
    return JsonResponse({})


async def slow_read(request):
    await request.session.aget("mine")
    await django_project.gate.ahold()
    return JsonResponse({})


async def slow_write(request):
    await request.session.aget("mine")
    await django_project.gate.ahold()
    await request.session.aset("mine", 2)
    return JsonResponse({})


async def state(request):
    user, session = await request.auser(), request.session
    return JsonResponse(
        {
            "user": str(user.pk) if user.is_authenticated else None,
            "mine": await session.aget("mine"),
            "theirs": await session.aget("theirs"),
        }
    )


ROUTES = {
    "begin": begin,
    "login/<user>": log_in,
    "logout": log_out,
    "rotate": rotate,
    "write": write,
    "slow-read": slow_read,
    "slow-write": slow_write,
    "state": state,
}

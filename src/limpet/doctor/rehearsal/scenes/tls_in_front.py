"""TLS ends at the balancer, and the app's server was not told to trust what the balancer says of it.

In every other scene it was: a server on the same machine trusts its proxy by default, so users are on
https to the app as well. On another machine it does not, unless the app or its server says so.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from limpet.doctor.evidence import ArmKind, Trial, TrialKind
from limpet.doctor.rehearsal.inside.orders import Orders

if TYPE_CHECKING:
    from limpet.doctor.evidence import Visit
    from limpet.doctor.rehearsal.rehearsal import Rehearsal


async def play(rehearsal: Rehearsal) -> None:
    """Log in while the app takes https for http."""
    await rehearsal.stage.use(stickiness=rehearsal.calm)
    rehearsal.site.orders = Orders(is_plain=True)
    try:
        session = await rehearsal.log_in()
        after = await rehearsal.row(ArmKind.JAR, session, 3)
    finally:
        rehearsal.site.orders = Orders()
    login = rehearsal.logins.pop()  # one that was made to fail proves nothing elsewhere
    steps = [each for each in (login.before, login.submit, *login.follow) if each is not None]
    note = _why(steps, has_cookies=bool(login.cookies))
    rehearsal.trials.append(Trial(kind=TrialKind.TLS_IN_FRONT, after=after, note=note))


def _why(steps: list[Visit], *, has_cookies: bool) -> str:
    plain = next((each for each in steps if each.location.startswith("http://")), None)
    if plain is not None:
        return f"{plain.path} redirects to http://"
    loops = {each.path for each in steps if each.location and each.location.endswith(each.path)}
    if loops:
        return f"{min(loops)} redirects to itself"
    refused = next((each for each in steps if each.method == "POST" and each.status in {400, 403}), None)
    if refused is not None:
        return f"POST {refused.path} is refused with {refused.status}"
    return "" if has_cookies else "the login sets no cookie"

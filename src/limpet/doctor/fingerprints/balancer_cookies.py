"""Cookies of balancers, by name and shape. One line a product; the first that fits counts.

`is_comparable`: equal values mean one replica. Encrypted and random values say nothing of the kind.
What no line knows is found by behaviour: values that repeat among visitors as replicas do.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, NamedTuple

from limpet.doctor.evidence import CookieReading, CookieRole
from limpet.doctor.fingerprints import addresses

if TYPE_CHECKING:
    from collections.abc import Callable


class _Product(NamedTuple):
    name: str
    cookie: re.Pattern[str]
    value: re.Pattern[str] = re.compile(r".+", re.DOTALL)
    is_comparable: bool = False
    address: Callable[[str], str] | None = None


def _names(pattern: str) -> re.Pattern[str]:
    return re.compile(pattern, re.IGNORECASE)


_HEX_32 = re.compile(r"[0-9a-f]{32}")
_HEX_64 = re.compile(r"[0-9a-f]{64}", re.IGNORECASE)

_PRODUCTS = (
    _Product("AWS ALB", _names(r"AWSALB(CORS|APP-\d+|TG|TGCORS)?")),
    _Product("AWS Classic ELB", _names(r"AWSELB(CORS)?"), is_comparable=True),
    _Product("limpet", _names(r"limpet(-.+)?"), re.compile(r"1\.[A-Za-z0-9_-]{40,}")),
    _Product("F5 BIG-IP", _names(r"BIGipServer.*"), is_comparable=True, address=addresses.bigip),
    _Product("NetScaler", _names(r"NSC_.+"), is_comparable=True, address=addresses.netscaler),
    _Product("Azure App Service", _names(r"ARRAffinity(SameSite)?"), is_comparable=True),
    _Product("Azure Application Gateway", _names(r"ApplicationGatewayAffinity(CORS)?"), is_comparable=True),
    _Product("Azure Front Door", _names(r"ASLBSA(CORS)?"), is_comparable=True),
    _Product("Google Cloud Load Balancing", _names(r"GCLB|GAESA|GSSA")),
    _Product("Cloudflare Load Balancing", _names(r"__cflb")),
    _Product("ingress-nginx", _names(r"INGRESSCOOKIE|route"), re.compile(r"\d{10}\.\d+\.\d+\.\d+(\|\w+)?")),
    _Product("nginx", _names(r"srv_id|route|sticky"), _HEX_32, is_comparable=True),
    _Product("Caddy", _names(r"lb"), _HEX_64, is_comparable=True),
    _Product("Traefik", _names(r"_[0-9a-f]{5}"), re.compile(r"[0-9a-f]{16}|https?%?.*"), is_comparable=True),
    _Product("YARP", _names(r"\.Yarp\.(ReverseProxy\.)?Affinity"), re.compile(r"[0-9a-f]{16}"), True),
    _Product("YARP", _names(r"\.Yarp\.(ReverseProxy\.)?Affinity")),
    _Product("Sozu", _names(r"SOZUBALANCEID"), is_comparable=True),
    _Product("Apache httpd", _names(r"ROUTEID|BALANCEID"), re.compile(r".*\..+"), is_comparable=True),
    _Product("Cloud Foundry", _names(r"__VCAP_ID__"), is_comparable=True),
    _Product("Heroku", _names(r"heroku-session-affinity")),
    _Product("DigitalOcean", _names(r"DO-LB"), is_comparable=True),
    _Product("Hetzner", _names(r"HCLBSTICKY"), is_comparable=True),
    _Product("HAProxy or Alibaba", _names(r"SERVERID|SRV|SRVNAME|NB_SRVID"), is_comparable=True),
)

_ENVOY_NAMES = re.compile(r".*(affinity|sticky|stateful|envoy|lb).*", re.IGNORECASE)


def read_balancer_cookie(name: str, value: str, digest: Callable[[str], str]) -> CookieReading | None:
    """Return what a balancer's cookie tells; None if it is not known to be one."""
    for product in _PRODUCTS:
        if product.cookie.fullmatch(name) and product.value.fullmatch(value):
            return _reading(product.name, value, digest, product.is_comparable, product.address)
    if _ENVOY_NAMES.fullmatch(name) and addresses.envoy(value):
        return _reading("Envoy", value, digest, True, addresses.envoy)
    return None


def _reading(
    product: str,
    value: str,
    digest: Callable[[str], str],
    is_comparable: bool,
    address: Callable[[str], str] | None,
) -> CookieReading:
    # HAProxy appends dates to the server's name, and Sozu and Apache do not.
    place = (address(value) if address else "") or value.split("|", 1)[0]
    return CookieReading(
        product=product,
        role=CookieRole.BALANCER,
        is_comparable=is_comparable,
        mark=digest(place) if is_comparable else "",
    )

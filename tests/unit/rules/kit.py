"""Rules and requests for the tests of rules, made as the configuration makes them."""

from limpet.config import compile_rules
from limpet.config.load import load_data
from limpet.core.request import FieldBlock, RequestHead


def settings(rules, groups=("web", "api", "blue", "green"), **listener):
    return load_data(
        {
            "listeners": [{"address": "127.0.0.1:1", "rules": rules, **listener}],
            "target_groups": {name: {"targets": ["127.0.0.1:2"]} for name in groups},
        }
    )


def table(rules, **listener):
    (made,) = compile_rules.rules(settings(rules, **listener)).values()
    return made


def request(path="/", host="shop.example", headers=(), method="GET", client="192.0.2.1", is_https=False):
    pairs = [(name.encode(), value.encode()) for name, value in headers]
    block = FieldBlock([(b"host", host.encode()), *pairs], host=host.encode())
    return RequestHead(method.encode(), path.encode(), block, client, is_https)

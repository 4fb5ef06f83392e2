"""What EndpointSlices say about targets."""

import pytest

from limpet.config.compile import target_id
from limpet.config.discovery_schema import DiscoverySettings
from limpet.control.discovery.contract import DiscoveryError
from limpet.control.discovery.endpoint_slices import EndpointSlice, targets

SERVICE = DiscoverySettings(type="kubernetes", service="web")


def made(*endpoints, name="web-1", family="IPv4", ports=({"name": "http", "port": 80},)):
    return EndpointSlice.model_validate(
        {
            "metadata": {"name": name},
            "addressType": family,
            "endpoints": list(endpoints),
            "ports": list(ports),
        }
    )


def pod(name, address="10.0.0.1", **conditions):
    return {
        "addresses": [address],
        "conditions": conditions,
        "targetRef": {"kind": "Pod", "name": name},
    }


@pytest.mark.parametrize(
    ("conditions", "expected"),
    [
        ({}, "takes sessions"),
        ({"ready": None, "serving": None, "terminating": None}, "takes sessions"),
        ({"ready": True}, "takes sessions"),
        ({"ready": False}, "nothing"),
        ({"ready": True, "serving": True, "terminating": False}, "takes sessions"),
        ({"ready": False, "serving": True, "terminating": True}, "terminates"),
        ({"ready": False, "serving": False, "terminating": True}, "nothing"),
        ({"ready": False, "serving": None, "terminating": True}, "nothing"),
        ({"ready": True, "serving": True, "terminating": True}, "terminates"),  # publishNotReadyAddresses
    ],
)
def test_conditions(conditions, expected):
    found = targets([made(pod("a", **conditions))], SERVICE)
    words = {(): "nothing", (False,): "takes sessions", (True,): "terminates"}
    assert words[tuple(target.is_terminating for target in found)] == expected


def test_endpoints_without_conditions_ports_or_pods():
    lone = {"addresses": ["10.0.0.1"]}
    (target,) = targets([made(lone)], SERVICE)
    assert (target.id, str(target.address)) == (target_id("10.0.0.1"), "10.0.0.1:80")
    long = "x" * 100
    assert targets([made(pod(long))], SERVICE)[0].id == target_id(long)
    empty = EndpointSlice.model_validate(
        {"metadata": {}, "addressType": "IPv4", "endpoints": None, "ports": None}
    )
    assert targets([empty], SERVICE) == []
    assert targets([made(lone, family="FQDN")], SERVICE) == []


def test_a_pod_of_two_families_or_two_slices_is_one_target():
    four, six = made(pod("a")), made(pod("a", "fd00:0::1"), name="web-0", family="IPv6")
    for order in ([four, six], [six, four]):
        assert [str(target.address) for target in targets(order, SERVICE)] == ["10.0.0.1:80"]
    assert [str(target.address) for target in targets([six], SERVICE)] == ["[fd00::1]:80"]
    late = made(pod("a", ready=False, serving=True, terminating=True), name="web-0")
    assert [target.is_terminating for target in targets([late, four], SERVICE)] == [False]


def test_the_port():
    two = made(pod("a"), ports=({"name": "http", "port": 80}, {"name": "metrics", "port": 90}))
    with pytest.raises(DiscoveryError, match="not exactly one port; its ports are 'http', 'metrics'"):
        targets([two], SERVICE)
    by_name = SERVICE.model_copy(update={"port_name": "metrics"})
    assert targets([two], by_name)[0].address.port == 90
    by_number = SERVICE.model_copy(update={"port": 8443, "https": True})
    assert str(targets([two], by_number)[0].address) == "https://10.0.0.1:8443"

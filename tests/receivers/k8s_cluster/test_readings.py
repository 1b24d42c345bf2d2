"""Objects as the API sends them -> attributes and values; and what odd objects give."""

from collections.abc import Mapping
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from heliograph.kubernetes.objects import Object, Resource
from heliograph.receivers.k8s_cluster import entities, objects
from heliograph.receivers.k8s_cluster.metrics import METRICS, allocatable_metric, condition_metric, snake
from heliograph.receivers.k8s_cluster.reading import Reading, amount
from heliograph.receivers.k8s_cluster.readings import Readings, endpoints, image, service, stripped

READINGS = Readings(METRICS, ["Ready", "Other"], ["cpu", "pods", "gone"])
_JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(max_size=8),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=8), inner, max_size=3),
    max_leaves=6,
)


def decoded(resource: Resource, body: Mapping[str, Any]) -> Object:
    found: Object = msgspec.json.decode(msgspec.json.encode(body), type=resource.shape)
    return found


def values(reading: Reading) -> dict[str, float]:
    return {name: points[0][1] for name, points in reading.values if len(points) == 1}


@pytest.mark.parametrize(
    ("text", "cores", "number"),
    [
        ("500m", True, 0.5),
        ("100u", True, 0.001),
        ("1.0005", True, 1.001),
        ("0.035", True, 0.035),
        ("64Mi", False, 67108864),
        ("1500m", False, 2),
        ("1e3", False, 1000),
        (7, False, 7),
        ("many", False, None),
        ("", True, None),
        (None, True, None),
    ],
)
def test_quantities(text: str | int | None, cores: bool, number: float | None) -> None:
    """Cores have three digits and everything else none, rounded up; what cannot be read is nothing."""
    assert amount(text, cores=cores) == number


def test_a_pod_without_a_node_and_a_status() -> None:
    """Unknown phase; a container has its requests, and no restarts."""
    spec = {"containers": [{"name": "a", "resources": {"requests": {"cpu": "x", "memory": "1Ki", "odd": "1"}}}]}
    pod, container = READINGS.read(objects.PODS, decoded(objects.PODS, {"metadata": {"name": "p"}, "spec": spec}))
    assert values(pod) == {"k8s.pod.phase": 5, "k8s.pod.status_reason": 6}
    assert values(container) == {"k8s.container.memory_request": 1024}


def test_a_status_without_its_container() -> None:
    """Only containers of the specification are reported."""
    status = {"containerStatuses": [{"name": "a"}]}
    assert len(READINGS.read(objects.PODS, decoded(objects.PODS, {"metadata": {}, "status": status}))) == 1


def test_node_conditions_and_resources() -> None:
    """A condition that the node does not tell is unknown, a resource that it does not have is left out."""
    conditions = [{"type": "Ready", "status": "False"}, {"type": "Odd", "status": "Perhaps"}]
    status = {"conditions": conditions, "allocatable": {"cpu": "1500m", "pods": "110"}}
    custom, plain = READINGS.read(objects.NODES, decoded(objects.NODES, {"metadata": {}, "status": status}))
    assert values(custom) == {
        "k8s.node.condition_ready": 0,
        "k8s.node.condition_other": -1,
        "k8s.node.allocatable_cpu": 1.5,
        "k8s.node.allocatable_pods": 110,
    }
    assert dict(plain.values)["k8s.node.condition"] == (((("condition", "Ready"),), 0), ((("condition", "Odd"),), 0))


def test_endpoints_of_a_service() -> None:
    """Ready unless said otherwise; serving as ready unless said; counted by type and zone."""
    said = [{}, {"conditions": {"ready": False, "serving": True, "terminating": True}, "zone": "a"}, {"zone": "a"}]
    labels = {"kubernetes.io/service-name": "front"}
    body = {"metadata": {"namespace": "n", "labels": labels}, "addressType": "IPv6", "endpoints": said}
    found = decoded(objects.ENDPOINT_SLICES, body)
    assert isinstance(found, objects.EndpointSlice)
    key, counts = endpoints(found)
    assert (key, counts) == ("n/front", {("IPv6", ""): (1, 1, 0), ("IPv6", "a"): (1, 2, 1)})
    balanced = decoded(objects.SERVICES, {"metadata": {}, "spec": {"type": "LoadBalancer"}})
    assert isinstance(balanced, objects.Service)
    reading = service(balanced, counts)
    assert values(reading) == {"k8s.service.load_balancer.ingress.count": 0}
    assert len(dict(reading.values)["k8s.service.endpoint.count"]) == 6


def test_endpoints_of_nobody() -> None:
    """A slice without a service, or of an unknown type of address, counts nowhere."""
    for body in ({"metadata": {}, "addressType": "IPv4"}, {"metadata": {}, "addressType": "DNA"}):
        found = decoded(objects.ENDPOINT_SLICES, body)
        assert isinstance(found, objects.EndpointSlice)
        assert endpoints(found) == ("", {})


@pytest.mark.parametrize(
    ("name", "words"),
    [
        ("MemoryPressure", "memory_pressure"),
        ("PIDPressure", "pid_pressure"),
        ("ephemeral-storage", "ephemeral_storage"),
        ("hugepages-2Mi", "hugepages_2_mi"),
        ("example.com/FPGAs", "example_com/fpg_as"),
        ("", ""),
    ],
)
def test_names_of_metrics(name: str, words: str) -> None:
    """As the Collector forms them."""
    assert snake(name) == words


def test_units_of_allocatable_resources() -> None:
    """Cores, bytes, pods, and any other resource by its own name."""
    assert [allocatable_metric(name).unit for name in ("cpu", "memory", "pods", "x/y")] == [
        "{cpu}",
        "By",
        "{pod}",
        "{x/y}",
    ]
    assert not allocatable_metric("cpu").whole
    assert condition_metric("Ready").whole


def test_images_and_ids() -> None:
    """No tag is latest; a scheme goes; what is no image has no name."""
    assert image("reg:5000/a/b@sha256:" + "0" * 64) == ("reg:5000/a/b", "latest")
    assert image("Not An Image") == ("", "")
    assert (stripped("cri-o://abc"), stripped("abc"), stripped("")) == ("abc", "abc", "")


@given(metadata=_JSON, spec=_JSON, status=_JSON)
def test_any_object_is_read_or_refused_by_the_decoder(metadata: object, spec: object, status: object) -> None:
    """Whatever has the right types is read without an error."""
    for resource in vars(objects).values():
        if not isinstance(resource, Resource):
            continue
        for body in ({"metadata": metadata, "spec": spec, "status": status}, {"metadata": {}, "status": status}):
            try:
                found = msgspec.json.decode(msgspec.json.encode(body), type=resource.shape)
            except msgspec.ValidationError:
                continue
            READINGS.read(resource, found)
            entities.of(resource, found)

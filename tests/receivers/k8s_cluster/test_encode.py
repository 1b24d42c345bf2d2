"""Encoded once, reported often: marks become the time, equal values are kept once, entities are referred to."""

from opentelemetry.proto.metrics.v1.metrics_pb2 import ResourceMetrics

from heliograph.receivers.k8s_cluster.config import ClusterAttributes, ClusterMetrics
from heliograph.receivers.k8s_cluster.encode import Encoder, Piece, Sections
from heliograph.receivers.k8s_cluster.metrics import METRICS, condition_metric
from heliograph.receivers.k8s_cluster.reading import Reading, Values

READY = condition_metric("Ready")
RUNNING: Values = (("k8s.pod.phase", (((), 2),)), ("k8s.pod.status_reason", (((), 6),)))


def encoder(attributes: frozenset[str] = ClusterAttributes.default()) -> Encoder:
    return Encoder(METRICS, {READY.name: READY}, ClusterMetrics.default(), attributes, 77)


def pod(name: str, values: Values = RUNNING, node: str = "n1") -> Reading:
    pairs = (("k8s.pod.uid", f"uid-{name}"), ("k8s.pod.name", name), ("k8s.node.name", node))
    return Reading("k8s.pod", pairs, values)


def made(of: Encoder, reading: Reading) -> Piece:
    piece = of.piece(reading)
    assert piece is not None
    return piece


def read(piece: Piece, now_ns: int = 1234567890) -> ResourceMetrics:
    return ResourceMetrics.FromString(Sections(now_ns).part(piece))


def test_a_report_has_its_time() -> None:
    """One piece, two reports: each has its time; points begin when the receiver did; what is off is left out."""
    piece = made(encoder(), pod("a"))
    for now in (1, 2**63):
        (metric,) = read(piece, now).scope_metrics[0].metrics
        (point,) = metric.gauge.data_points
        assert (metric.name, point.as_int, point.time_unix_nano, point.start_time_unix_nano) == (
            "k8s.pod.phase",
            2,
            now,
            77,
        )
    assert piece[1].points == 1


def test_equal_values_are_kept_once() -> None:
    """Two pods that run share all but their resource."""
    of = encoder()
    assert made(of, pod("a"))[1] is made(of, pod("b"))[1]


def test_nothing_to_report() -> None:
    """An object without a value that is on has no piece."""
    assert encoder().piece(pod("a", (("k8s.pod.status_reason", (((), 6),)),))) is None


def test_custom_metrics_have_no_start() -> None:
    """Those named after the configuration, as upstream has them; and no reference to an entity."""
    reading = Reading("k8s.node", (("k8s.node.uid", "u"),), ((READY.name, (((), 1),)),), custom=True)
    found = read(made(encoder(), reading))
    assert found.scope_metrics[0].metrics[0].gauge.data_points[0].start_time_unix_nano == 0
    assert list(found.resource.entity_refs) == []


def test_references_to_entities() -> None:
    """What identifies and what describes, as far as it is there; none without what identifies."""
    (reference,) = read(made(encoder(), pod("a", node=""))).resource.entity_refs
    assert (reference.type, list(reference.id_keys), list(reference.description_keys)) == (
        "k8s.pod",
        ["k8s.pod.uid"],
        ["k8s.pod.name"],
    )
    without = encoder(ClusterAttributes.default() - {"k8s.pod.uid"})
    found = read(made(without, pod("a"))).resource
    assert ([pair.key for pair in found.attributes], len(found.entity_refs)) == (["k8s.pod.name", "k8s.node.name"], 0)


def test_attributes_without_a_value_are_left_out() -> None:
    """A pod that is not scheduled has no node."""
    assert "k8s.node.name" not in {pair.key for pair in read(made(encoder(), pod("a", node=""))).resource.attributes}

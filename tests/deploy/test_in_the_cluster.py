"""The architecture as a user installs it: the chart on a real cluster, an application with the OpenTelemetry SDK, and a
stand-in of the Managed OTLP Endpoint behind the gateway. What arrives there is read record by record."""

import itertools
import json
import time
from collections import Counter
from collections.abc import Callable, Iterator
from typing import Any
from urllib.request import urlopen

import pytest

from deployment import Installed
from kubernetes_lab import Api
from serverless import KEY, Deployment, Document, serverless

pytestmark = [pytest.mark.cluster, pytest.mark.slow, pytest.mark.timeout(400)]


@pytest.fixture(scope="module")
def deployed(
    kubernetes: Api, images: tuple[str, str], tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Deployment]:
    """The chart for Serverless, and the shop beside it."""
    with serverless(kubernetes, images, tmp_path_factory.mktemp("endpoint")) as made:
        yield made


def of_shop(deployed: Deployment, signal: str, name: str) -> Callable[[Document], bool]:
    """Whether a document comes from this deployment of the shop."""

    def wanted(document: Document) -> bool:
        resource = document["resource"]
        return (
            document["signal"] == signal
            and resource.get("k8s.namespace.name") == deployed.shop
            and resource.get("k8s.pod.name", "").startswith(f"{name}-")
        )

    return wanted


def check_metadata(document: Document, deployed: Deployment, name: str) -> None:
    """Everything that the API knows of the pod is there, and it is the pod's."""
    resource = document["resource"]
    pod = json.loads(
        deployed.release.api.run("kubectl", "-n", deployed.shop, "get", "pod", resource["k8s.pod.name"], "-o", "json")
    )
    expected = {
        "k8s.pod.uid": pod["metadata"]["uid"],
        "k8s.pod.ip": pod["status"]["podIP"],
        "k8s.pod.start_time": pod["metadata"]["creationTimestamp"],
        "k8s.node.name": pod["spec"]["nodeName"],
        "host.name": pod["spec"]["nodeName"],
        "k8s.deployment.name": name,
        "k8s.replicaset.name": pod["metadata"]["ownerReferences"][0]["name"],
        "k8s.container.name": name,
        "container.image.tag": "test",
        "container.id": pod["status"]["containerStatuses"][0]["containerID"].rpartition("/")[2],
        "k8s.app.name": name,
        "k8s.app.part-of": "shop",
        "service.name": name,
        "service.version": "1.4",
        "k8s.cluster.name": "lab",
    }
    assert {key: resource.get(key) for key in expected} == expected


@pytest.mark.parametrize("signal", ["logs", "traces", "metrics"])
def test_an_applications_telemetry_carries_its_pods_metadata(signal: str, deployed: Deployment) -> None:
    """Its lines by the path of their file, its spans by the address of a gRPC connection, its measurements by that of
    an HTTP connection: the application itself says nothing of its pod."""
    own = {"logs": "log.record.uid", "traces": "http.route", "metrics": "outcome"}[signal]
    wanted = of_shop(deployed, signal, "checkout")
    document = deployed.wait(lambda item: wanted(item) and own in item["attributes"], f"{signal} of checkout")
    check_metadata(document, deployed, "checkout")
    if signal == "logs":
        assert "placed" in document["body"]
        assert document["attributes"]["log.iostream"] == "stdout"


def test_a_trace_goes_through_both_services(deployed: Deployment) -> None:
    server = deployed.wait(of_shop(deployed, "traces", "checkout"), "a span of checkout")

    def its_client(document: Document) -> bool:
        return of_shop(deployed, "traces", "frontend")(document) and document["trace"] == server["trace"]

    check_metadata(deployed.wait(its_client, "the span of the frontend in this trace"), deployed, "frontend")


def test_a_pod_that_lives_for_a_moment_has_its_metadata_too(deployed: Deployment) -> None:
    for signal in ("logs", "traces"):
        resource = deployed.wait(of_shop(deployed, signal, "moment"), f"{signal} of the pod")["resource"]
        assert resource["k8s.job.name"] == "moment"
        assert resource["k8s.app.part-of"] == "shop"
        assert resource["k8s.node.name"] == resource["host.name"]


@pytest.mark.parametrize(
    ("metric", "scope", "keys"),
    [
        ("system.cpu.time", "cpuscraper", {"k8s.node.name", "k8s.cluster.uid", "host.arch", "os.type"}),
        ("system.network.io", "networkscraper", {"k8s.node.name"}),
        ("k8s.node.cpu.usage", "kubeletstatsreceiver", {"k8s.node.name"}),
        ("k8s.pod.memory.working_set", "kubeletstatsreceiver", {"k8s.pod.uid", "k8s.namespace.name", "k8s.pod.ip"}),
        ("container.cpu.time", "kubeletstatsreceiver", {"k8s.pod.uid", "k8s.container.name", "container.id"}),
    ],
)
def test_the_node_and_its_kubelet_are_measured(metric: str, scope: str, keys: set[str], deployed: Deployment) -> None:
    document = deployed.wait(lambda item: item.get("metric") == metric, metric)
    assert document["scope"].endswith(scope)
    assert document["resource"].keys() >= keys
    assert document["resource"]["k8s.cluster.name"] == "lab"


def test_pods_of_the_kubelet_carry_what_the_api_knows_of_them(deployed: Deployment) -> None:
    def wanted(document: Document) -> bool:
        return document.get("metric") == "container.memory.usage" and of_shop(deployed, "metrics", "checkout")(document)

    resource = deployed.wait(wanted, "the memory of checkout's container")["resource"]
    assert resource["k8s.deployment.name"] == "checkout"
    assert resource["k8s.app.part-of"] == "shop"


@pytest.mark.parametrize(
    ("metric", "expected"),
    [
        ("k8s.deployment.available", {"k8s.deployment.name": "checkout"}),
        ("k8s.pod.phase", {"k8s.deployment.name": "checkout", "k8s.app.part-of": "shop"}),
        ("k8s.container.restarts", {"k8s.container.name": "checkout", "k8s.deployment.name": "checkout"}),
    ],
)
def test_the_cluster_is_measured(metric: str, expected: dict[str, str], deployed: Deployment) -> None:
    def wanted(document: Document) -> bool:
        resource = document["resource"]
        return (
            document.get("metric") == metric
            and resource["k8s.namespace.name"] == deployed.shop
            and expected.items() <= resource.items()
        )

    document = deployed.wait(wanted, metric)
    assert document["resource"]["k8s.cluster.name"] == "lab"
    assert document["value"] in (0, 1, 2)


def test_events_of_pods_arrive_as_logs(deployed: Deployment) -> None:
    def wanted(document: Document) -> bool:
        attributes = document["attributes"]
        return (
            document["signal"] == "logs"
            and attributes.get("k8s.event.reason") == "Started"
            and attributes.get("k8s.namespace.name") == deployed.shop
        )

    document = deployed.wait(wanted, "the event that a container was started")
    assert document["resource"]["k8s.object.kind"] == "Pod"
    assert document["resource"]["k8s.object.name"].startswith(("checkout-", "frontend-", "moment-"))
    assert document["severity"] == "Normal"


def test_one_of_two_replicas_reports_the_cluster(deployed: Deployment) -> None:
    """Two replicas run, one holds the lease, and each deployment is reported once in each interval."""
    pods = [pod["metadata"]["name"] for pod in deployed.release.pods("cluster")]
    assert len(pods) == 2
    lease = json.loads(deployed.release.kubectl("get", "lease", "heliograph-cluster", "-o", "json"))
    assert [pod for pod in pods if pod in lease["spec"]["holderIdentity"]]
    times = sorted(
        item["time"]
        for item in deployed.documents
        if item.get("metric") == "k8s.deployment.available"
        and item["resource"]["k8s.deployment.name"] == "checkout"
        and item["resource"]["k8s.namespace.name"] == deployed.shop
    )
    assert all(later - earlier > 9e9 for earlier, later in itertools.pairwise(times))


def test_our_own_lines_are_not_collected(deployed: Deployment) -> None:
    """A line about sending would cause another one to send."""
    deployed.wait(of_shop(deployed, "logs", "checkout"), "any line")
    own = [
        item
        for item in deployed.documents
        if item["signal"] == "logs" and item["resource"].get("k8s.namespace.name") == deployed.release.namespace
        and "log.record.uid" in item["attributes"]
    ]  # fmt: skip
    assert own == []


def test_nothing_arrives_twice(deployed: Deployment) -> None:
    deployed.wait(of_shop(deployed, "traces", "checkout"), "a span of checkout")
    seen: Counter[Any] = Counter()
    for item in deployed.documents:
        if item["signal"] == "traces":
            seen[item["trace"], item["span"]] += 1
        elif item["signal"] == "metrics":
            identity = (sorted(item["resource"].items()), sorted(item["attributes"].items()), item["time"])
            seen[item["metric"], str(identity)] += 1
        elif "log.record.uid" in item["attributes"]:
            seen[item["attributes"]["log.record.uid"]] += 1
    assert [key for key, times in seen.items() if times > 1] == []


def test_what_the_gateways_sent_is_what_arrived(deployed: Deployment) -> None:
    """The books of the gateways and of the endpoint show the same number once nothing is under way."""
    names = {
        "logs": "otelcol_exporter_sent_log_records",
        "traces": "otelcol_exporter_sent_spans",
        "metrics": "otelcol_exporter_sent_metric_points",
    }
    for signal, name in names.items():
        for _ in range(60):
            before = sum(item["signal"] == signal for item in deployed.documents)
            sent = sum(deployed.release.metric("gateway", name).values())
            if before == sent:
                break
            time.sleep(0.2)
        assert before == sent, signal
        assert sent > 0


def test_a_wrong_key_is_named_and_loses_nothing(deployed: Deployment) -> None:
    """With a key that the endpoint does not know the gateways say so and what to do; what is written meanwhile waits on
    the node and arrives, each line once, when the key is right again."""
    deployed.release.upgrade("secret.apiKey=wrong")
    end = time.monotonic() + 60
    while "API key" not in (
        log := deployed.release.kubectl("logs", "-l", "app.kubernetes.io/component=gateway", "--tail=50")
    ):
        assert time.monotonic() < end, log
        time.sleep(1)
    while len(deployed.release.pods("gateway")) > 2:  # the old ones, which still know the right key
        assert time.monotonic() < end + 60, deployed.release.told()
        time.sleep(0.5)
    begun = time.time_ns()
    time.sleep(3)
    assert all(item["time"] < begun for item in deployed.documents if item["signal"] == "logs")
    deployed.release.upgrade(f"secret.apiKey={KEY}")
    wanted = of_shop(deployed, "logs", "checkout")
    deployed.wait(lambda item: wanted(item) and item["time"] > begun + 5_000_000_000, "a line of later")
    lines = [item["body"] for item in deployed.documents if wanted(item) and item["body"].startswith("{")]
    numbers = sorted(json.loads(line)["number"] for line in lines)
    assert numbers == list(range(numbers[0], numbers[-1] + 1))


def test_a_missing_rule_is_named_and_costs_only_what_needs_it(deployed: Deployment) -> None:
    """Without the rule for jobs the leader's health and log name kind, group, verbs and where to add them; the
    cluster's other metrics go on. With the rule again nothing is named any more."""
    release = deployed.release
    role = f"clusterrole/{release.namespace}-heliograph-cluster"
    rules = json.loads(release.kubectl("get", role, "-o", "json"))["rules"]
    left = [rule for rule in rules if "cronjobs" not in rule["resources"]]
    assert len(left) == len(rules) - 1
    restarted = begin_without(release, role, left)
    said = until_said(release, lambda components: "cronjobs" in components.get("receiver/k8s_cluster", ""))
    rule = 'add to a ClusterRole: apiGroups: ["batch"], resources: ["cronjobs"], verbs: ["get", "list", "watch"]'
    assert rule in said["receiver/k8s_cluster"]
    assert "cannot watch cronjobs" in release.kubectl("logs", "-l", "app.kubernetes.io/component=cluster", "--tail=100")

    def later(item: Document) -> bool:
        return item.get("metric") == "k8s.deployment.available" and item["time"] > restarted + 5_000_000_000

    deployed.wait(later, "the deployments, from the leader without the rule")
    release.kubectl("patch", role, "--type=merge", "-p", json.dumps({"rules": rules}))
    until_said(release, lambda components: "receiver/k8s_cluster" not in components)


def begin_without(release: Installed, role: str, rules: list[Any]) -> int:
    """Give the cluster collectors other rules and start them anew; when that was done, in nanoseconds."""
    release.kubectl("patch", role, "--type=merge", "-p", json.dumps({"rules": rules}))
    release.kubectl("rollout", "restart", "deployment/heliograph-cluster")
    release.kubectl("rollout", "status", "deployment/heliograph-cluster", "--timeout=90s")
    return time.time_ns()


def until_said(release: Installed, wanted: Callable[[dict[str, str]], bool]) -> dict[str, str]:
    """What the health of the cluster collectors names, as soon as it is what is wanted: component -> message."""
    end = time.monotonic() + 60
    while True:
        said: dict[str, str] = {}
        for pod in release.pods("cluster"):
            if "deletionTimestamp" not in pod["metadata"]:
                page = json.load(urlopen(f"http://{pod['status']['podIP']}:13133/", timeout=10))
                said |= {name: found["message"] for name, found in page.get("components", {}).items()}
        if wanted(said):
            return said
        assert time.monotonic() < end, said
        time.sleep(1)

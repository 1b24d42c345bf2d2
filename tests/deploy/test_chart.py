"""The Helm chart: what it renders for each scenario, where its configurations come from, what it refuses."""

import os
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import yaml

from heliograph.app.collector import check
from heliograph.config.load import load
from heliograph.presets import FOLDER

Render = Callable[..., list[dict[str, Any]]]
CHART = Path(__file__).resolve().parent.parent.parent / "deploy" / "helm" / "heliograph"
GOLDEN = Path(__file__).with_name("golden")
SCENARIOS = ("serverless", "hosted", "self-managed", "ece", "eck", "direct")
VARIABLES = {
    "OTEL_K8S_POD_IP": "127.0.0.1",
    "OTEL_K8S_NODE_IP": "127.0.0.1",
    "OTEL_K8S_NODE_NAME": "node",
    "OTEL_K8S_NAMESPACE": "observe",
    "HELIOGRAPH_GATEWAY": "dns:///gateway:4317",
    "HELIOGRAPH_BACKEND": "backend:4317",
    "ELASTIC_OTLP_ENDPOINT": "https://endpoint.test:443",
    "ELASTIC_ENDPOINT": "https://elasticsearch.test:9200",
    "ELASTIC_API_KEY": "k",
    "HELIOGRAPH_CERTIFICATE": __file__,
    "HELIOGRAPH_PRIVATE_KEY": __file__,
    "HELIOGRAPH_TOKEN": "t",
}
Helm = Callable[..., "subprocess.CompletedProcess[str]"]


def named(objects: list[dict[str, Any]], kind: str, name: str) -> dict[str, Any]:
    """The one object of this kind whose name ends so."""
    (found,) = [item for item in objects if item["kind"] == kind and item["metadata"]["name"].endswith(name)]
    return found


def container(workload: dict[str, Any]) -> dict[str, Any]:
    """The only container of a workload."""
    (found,) = workload["spec"]["template"]["spec"]["containers"]
    assert isinstance(found, dict)
    return found


@pytest.mark.parametrize("scenario", SCENARIOS)
def test_each_scenario_renders_as_its_golden_file(scenario: str, render: Render) -> None:
    """Run with HELIOGRAPH_RECORD=1 to write the golden files anew."""
    objects = render(f"scenario={scenario}", "clusterName=lab")
    for item in objects:
        if item["kind"] == "ConfigMap":
            # The text of a preset is a file of its own.
            text = item["data"]["collector.yaml"]
            (preset,) = [path.name for path in FOLDER.glob("*.yaml") if path.read_text().strip() == text.strip()]
            item["data"]["collector.yaml"] = f"presets/{preset}"
        # Sums change with every preset.
        for name in ("checksum/config", "checksum/secret"):
            template = item.get("spec", {}).get("template", {})
            if isinstance(template, dict):
                template.get("metadata", {}).get("annotations", {}).pop(name, None)
    text = yaml.safe_dump_all(objects, sort_keys=True, width=120)
    golden = GOLDEN / f"{scenario}.yaml"
    if os.environ.get("HELIOGRAPH_RECORD"):
        golden.write_text(text)
    assert text == golden.read_text()


def test_the_charts_configurations_are_the_presets() -> None:
    presets = {path.name: path.read_text() for path in FOLDER.glob("kubernetes-*.yaml")}
    files = {path.name: path.read_text() for path in (CHART / "files").iterdir()}
    assert files == presets, "run `make chart`"


@pytest.mark.parametrize("preset", sorted(path.name for path in FOLDER.glob("kubernetes-*.yaml")))
def test_each_preset_is_a_valid_configuration(preset: str) -> None:
    loaded = load([str(FOLDER / preset)], [], VARIABLES)
    check(loaded)
    assert not loaded.warnings


def test_the_backend_outside_a_cluster_is_the_same_file_with_tls_and_a_key() -> None:
    loaded = load([str(FOLDER / "kubernetes-backend.yaml"), str(FOLDER / "backend-secured.yaml")], [], VARIABLES)
    assert not loaded.warnings
    assert {str(id) for _, id in loaded.components} > {"bearertokenauth", "otlp", "elasticsearch"}


def test_helm_finds_nothing_wrong_with_the_chart(helm: Helm) -> None:
    done = helm("lint", "--strict", str(CHART), "--set=secret.endpoint=https://x:443,secret.apiKey=k")
    assert done.returncode == 0, done.stdout
    assert "[WARNING]" not in done.stdout
    assert "[ERROR]" not in done.stdout


@pytest.mark.parametrize(
    ("values", "told"),
    [
        ((), "secret.endpoint: where the data goes"),
        (("secret.endpoint=https://x:443",), "secret.apiKey: the key for secret.endpoint"),
        (("scenario=cloud",), "'serverless', 'hosted', 'self-managed', 'ece', 'eck', 'direct'"),
        (("daemon.tolerance=1",), "additional properties 'tolerance' not allowed"),
        (("image.digest=latest",), "/image/digest"),
    ],
)
def test_wrong_values_are_refused_with_what_is_wrong(values: tuple[str, ...], told: str, helm: Helm) -> None:
    done = helm("template", "release", str(CHART), *(f"--set={value}" for value in values))
    assert done.returncode != 0
    assert told in done.stderr


def test_no_role_has_more_than_it_needs(render: Render) -> None:
    """Nobody may write but the lease, nobody reads secrets, every container is confined, only the daemon is root."""
    objects = render("scenario=eck")
    rules = [rule for item in objects if item["kind"] in ("ClusterRole", "Role") for rule in item["rules"]]
    for rule in rules:
        if rule["apiGroups"] != ["coordination.k8s.io"]:
            assert set(rule["verbs"]) <= {"get", "list", "watch"}
        assert not {"secrets", "*", "nodes/proxy"} & set(rule["resources"])
    workloads = [item for item in objects if item["kind"] in ("DaemonSet", "Deployment", "StatefulSet")]
    assert len(workloads) == 4
    for item in workloads:
        security = container(item)["securityContext"]
        assert security == {
            "allowPrivilegeEscalation": False,
            "readOnlyRootFilesystem": True,
            "capabilities": {"drop": ["ALL"]},
        }
        pod = item["spec"]["template"]["spec"]
        assert pod["securityContext"]["seccompProfile"] == {"type": "RuntimeDefault"}
        assert (pod["securityContext"]["runAsUser"] == 0) == (item["kind"] == "DaemonSet")
        watches = item["metadata"]["name"].endswith(("-daemon", "-cluster"))
        assert pod.get("automountServiceAccountToken", True) == watches
        for volume in pod["volumes"]:
            if "hostPath" in volume and volume["name"] != "state":
                (mount,) = [m for m in container(item)["volumeMounts"] if m["name"] == volume["name"]]
                assert mount["readOnly"] is True


def test_a_kubelet_that_knows_no_fine_rights_gets_nodes_proxy(render: Render) -> None:
    """Before 1.33 the kubelet's list of pods is behind nodes/proxy alone."""
    role = named(render(version="1.32.0"), "ClusterRole", "-daemon")
    (rule,) = [rule for rule in role["rules"] if "nodes/stats" in rule["resources"]]
    assert rule["resources"] == ["nodes/stats", "nodes/proxy"]


def test_pods_wait_before_they_stop_without_a_shell(render: Render) -> None:
    assert container(named(render(), "Deployment", "-gateway"))["lifecycle"] == {"preStop": {"sleep": {"seconds": 5}}}
    old = container(named(render(version="1.29.0"), "Deployment", "-gateway"))["lifecycle"]["preStop"]["exec"][
        "command"
    ]
    assert old == ["/usr/bin/python3.11", "-c", "import time; time.sleep(5)"]


def test_gateways_that_write_to_elasticsearch_may_keep_their_queue_on_volumes(render: Render) -> None:
    """Only with direct, where they have one."""
    values = ("gateway.storage.size=5Gi", "gateway.storage.class=fast")
    objects = render("scenario=direct", *values)
    gateway = named(objects, "StatefulSet", "-gateway")["spec"]
    (claim,) = gateway["volumeClaimTemplates"]
    assert claim["metadata"]["name"] == "queue"
    assert claim["spec"]["resources"] == {"requests": {"storage": "5Gi"}}
    assert claim["spec"]["storageClassName"] == "fast"
    assert "queue" not in {volume["name"] for volume in gateway["template"]["spec"]["volumes"]}
    assert gateway["serviceName"] == named(objects, "Service", "-gateway-headless")["metadata"]["name"]
    scaler = named(objects, "HorizontalPodAutoscaler", "-gateway")["spec"]["scaleTargetRef"]
    assert scaler["kind"] == "StatefulSet"
    assert not [
        item for item in objects if item["kind"] == "Deployment" and item["metadata"]["name"].endswith("-gateway")
    ]
    for scenario in ("direct", "serverless"):
        given = () if scenario == "direct" else values
        named(render(f"scenario={scenario}", *given), "Deployment", "-gateway")


def test_the_grace_period_is_longer_than_waiting_and_draining(render: Render) -> None:
    for item in render("scenario=eck", "gateway.drainSeconds=100"):
        if item["kind"] in ("DaemonSet", "Deployment", "StatefulSet"):
            environment = {entry["name"]: entry.get("value") for entry in container(item)["env"]}
            drain = int(environment.get("HELIOGRAPH_DRAIN_SECONDS") or 25)
            assert item["spec"]["template"]["spec"]["terminationGracePeriodSeconds"] >= drain + 5


def test_values_are_merged_over_a_roles_configuration(render: Render, tmp_path: Path) -> None:
    """Both files as the container gets them: the second changes what it names and nothing else."""
    objects = render("daemon.config.receivers.otlp.protocols.grpc.max_recv_msg_size_mib=64", "logs.level=debug")
    data = named(objects, "ConfigMap", "-daemon")["data"]
    for name, text in data.items():
        (tmp_path / name).write_text(text)
    arguments = container(named(objects, "DaemonSet", "-daemon"))["args"]
    assert arguments == ["--config=/conf/collector.yaml", "--config=/conf/values.yaml"]
    loaded = load([str(tmp_path / "collector.yaml"), str(tmp_path / "values.yaml")], [], VARIABLES)
    check(loaded)
    assert loaded.telemetry.logs.level == "debug"
    (otlp,) = [found for (_, id), found in loaded.components.items() if str(id) == "otlp"]
    config: Any = otlp.config
    assert config.protocols.grpc.max_recv_msg_size_mib == 64
    assert config.protocols.http is not None


@pytest.mark.parametrize("network", ["host", "hostPort", "pod"])
def test_the_daemons_network(network: str, render: Render) -> None:
    objects = render(f"daemon.network={network}")
    daemon = named(objects, "DaemonSet", "-daemon")
    assert daemon["spec"]["template"]["spec"].get("hostNetwork", False) == (network == "host")
    ports = {port["name"]: port.get("hostPort") for port in container(daemon)["ports"]}
    assert ports["otlp-grpc"] == (4317 if network == "hostPort" else None)
    policies = {item["metadata"]["name"] for item in objects if item["kind"] == "NetworkPolicy"}
    assert ("release-heliograph-daemon" in policies) == (network != "host")


def test_gateways_take_otlp_only_from_where_it_should_come(render: Render) -> None:
    def sources(*values: str) -> Any:
        policy = named(render(*values), "NetworkPolicy", "-gateway")
        (rule,) = [rule for rule in policy["spec"]["ingress"] if {"protocol": "TCP", "port": 4317} in rule["ports"]]
        return rule.get("from")

    assert sources() is None
    assert {"ipBlock": {"cidr": "10.0.0.0/16"}} in sources("networkPolicy.nodeCIDRs={10.0.0.0/16}")
    assert len(sources("daemon.network=pod")) == 2

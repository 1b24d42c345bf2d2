"""Keys: upstream's defaults, and what is refused."""

from typing import Any

import pytest

from heliograph.component.errors import ConfigError
from heliograph.config.decode import from_plain
from heliograph.receivers.k8s_cluster.config import K8sClusterConfig


def test_a_published_configuration() -> None:
    """Elastic's kube-stack is read; a switch adds to the defaults."""
    config = from_plain(
        K8sClusterConfig,
        {
            "auth_type": "serviceAccount",
            "node_conditions_to_report": ["Ready", "MemoryPressure"],
            "allocatable_types_to_report": ["cpu", "memory"],
            "metrics": {"k8s.pod.status_reason": {"enabled": True}},
            "resource_attributes": {"k8s.pod.qos_class": {"enabled": True}, "container.id": {"enabled": False}},
        },
    )
    assert {"k8s.pod.status_reason", "k8s.pod.phase"} <= config.metrics
    assert "k8s.pod.qos_class" in config.resource_attributes
    assert "container.id" not in config.resource_attributes
    assert config.scopes() == ("",)


def test_namespaces() -> None:
    """The list wins over the older single one."""
    assert from_plain(K8sClusterConfig, {"namespace": "a"}).scopes() == ("a",)
    assert from_plain(K8sClusterConfig, {"namespace": "a", "namespaces": ["b", "c"]}).scopes() == ("b", "c")


@pytest.mark.parametrize(
    ("config", "words"),
    [
        ({"collection_interval": "0s"}, "positive"),
        ({"metadata_collection_interval": "-1s"}, "negative"),
        ({"kube_api_qps": -1.0}, "negative"),
        ({"kube_api_burst": -1}, "negative"),
        ({"metadata_exporters": ["signalfx"]}, "logs pipeline"),
        ({"namespaces": ["a", "a"]}, "twice"),
        ({"node_conditions_to_report": [""]}, "empty"),
        ({"auth_type": "tls"}, "auth_type"),
        ({"distribution": "rancher"}, "openshift"),
        ({"metrics": {"k8s.pod.fase": {"enabled": True}}}, "k8s.pod.fase"),
    ],
)
def test_refused(config: dict[str, Any], words: str) -> None:
    """Named, with a reason."""
    with pytest.raises(ConfigError, match=words):
        from_plain(K8sClusterConfig, config)

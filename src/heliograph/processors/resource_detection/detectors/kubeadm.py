"""The `kubeadm` detector: the cluster's name from the ConfigMap that kubeadm leaves, and the cluster's uid.

The ConfigMap holds its settings as a document under `ClusterConfiguration`; a plain key `clusterName` is read first,
as upstream does. Source: opentelemetry-collector-contrib, internal/metadataproviders/kubeadm.
"""

from typing import Any

import yaml

from heliograph.processors.resource_detection.asking import Asker, word
from heliograph.processors.resource_detection.cluster_api import ClusterApi
from heliograph.processors.resource_detection.config import KubeadmConfig
from heliograph.processors.resource_detection.detected import Absent, Detected, selected

_CONFIG = "/api/v1/namespaces/kube-system/configmaps/kubeadm-config"


async def detect(config: KubeadmConfig, asker: Asker) -> Detected:
    """Raises Absent outside of a cluster and in one that kubeadm did not make."""
    on = config.resource_attributes
    found: dict[str, str] = {}
    warnings: tuple[str, ...] = ()
    async with ClusterApi(asker, config.auth_type, config.context) as cluster:
        if "k8s.cluster.name" in on:
            answer = await cluster.get(_CONFIG, (404,))
            if answer is None:
                raise Absent("there is no ConfigMap kubeadm-config: kubeadm did not make this cluster")
            found["k8s.cluster.name"] = _name(answer.get("data"))
        if "k8s.cluster.uid" in on:
            uid = await cluster.cluster_uid()
            if uid is None:
                warnings = ("k8s.cluster.uid: no right to get the namespace kube-system; grant it or disable this",)
            else:
                found["k8s.cluster.uid"] = uid
    return selected({name: value for name, value in found.items() if value}, on, warnings)


def _name(data: Any) -> str:
    if not isinstance(data, dict):
        return ""
    if word(data, "clusterName"):
        return word(data, "clusterName")
    try:
        document = yaml.safe_load(word(data, "ClusterConfiguration"))
    except yaml.YAMLError:
        return ""
    return word(document, "clusterName") if isinstance(document, dict) else ""

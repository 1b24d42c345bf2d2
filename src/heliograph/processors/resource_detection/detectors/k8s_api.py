"""The `k8s_api` detector (older name: `k8snode`): this node's name and uid and the cluster's uid.

Source: opentelemetry-collector-contrib, resourcedetectionprocessor/internal/k8sapi (0.156).
"""

from urllib.parse import quote

from heliograph.processors.resource_detection.asking import Asker
from heliograph.processors.resource_detection.cluster_api import ClusterApi, uid
from heliograph.processors.resource_detection.config import K8sApiConfig
from heliograph.processors.resource_detection.detected import Detected, DetectionError, selected

_VARIABLE = "K8S_NODE_NAME"


async def detect(config: K8sApiConfig, asker: Asker) -> Detected:
    """Raises Absent outside of a cluster, DetectionError without the variable or without the right to read the node."""
    on = config.resource_attributes
    found: dict[str, str] = {}
    warnings: tuple[str, ...] = ()
    async with ClusterApi(asker, config.auth_type, config.context) as cluster:
        variable = config.node_from_env_var or _VARIABLE
        node = asker.environ.get(variable, "")
        if not node:
            raise DetectionError(f"{variable} is not set; set it from spec.nodeName in the pod's specification")
        if on & {"k8s.node.uid", "k8s.node.name"}:
            answer = await cluster.get(f"/api/v1/nodes/{quote(node, safe='')}")
            assert answer is not None
            found["k8s.node.uid"] = uid(answer)
            found["k8s.node.name"] = str(answer["metadata"].get("name", node))
        if "k8s.cluster.uid" in on:
            cluster_uid = await cluster.cluster_uid()
            if cluster_uid is None:
                warnings = ("k8s.cluster.uid: no right to get the namespace kube-system; grant it or disable this",)
            else:
                found["k8s.cluster.uid"] = cluster_uid
    return selected(found, on, warnings)

"""k8s_cluster: metrics of a cluster's objects, and entity events as log records, from the Kubernetes API.

Source: opentelemetry-collector-contrib, receiver/k8sclusterreceiver; same metrics, attributes, units and scope.
"""

from heliograph.component.factory import Factory
from heliograph.component.ids import Kind, Signal
from heliograph.receivers.k8s_cluster.config import K8sClusterConfig
from heliograph.receivers.k8s_cluster.receiver import K8sClusterReceiver

FACTORY = Factory(
    kind=Kind.RECEIVER,
    type="k8s_cluster",
    config=K8sClusterConfig,
    create=K8sClusterReceiver,
    signals=frozenset({Signal.METRICS, Signal.LOGS}),
)

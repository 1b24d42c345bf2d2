"""k8s_objects: objects of a Kubernetes cluster as log records, pulled from time to time or as they change.

Source: opentelemetry-collector-contrib, receiver/k8sobjectsreceiver; same body, attributes and scope.
"""

from heliograph.component.factory import Factory
from heliograph.component.ids import Kind, Signal
from heliograph.receivers.k8s_objects.config import K8sObjectsConfig
from heliograph.receivers.k8s_objects.receiver import K8sObjectsReceiver

FACTORY = Factory(
    kind=Kind.RECEIVER,
    type="k8s_objects",
    aliases=("k8sobjects",),
    config=K8sObjectsConfig,
    create=K8sObjectsReceiver,
    signals=frozenset({Signal.LOGS}),
)

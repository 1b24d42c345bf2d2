"""k8s_events: events of a Kubernetes cluster as log records.

Source: opentelemetry-collector-contrib, receiver/k8seventsreceiver; same body, severity, attributes and scope.
"""

from heliograph.component.factory import Factory
from heliograph.component.ids import Kind, Signal
from heliograph.receivers.k8s_events.config import K8sEventsConfig
from heliograph.receivers.k8s_events.receiver import K8sEventsReceiver

FACTORY = Factory(
    kind=Kind.RECEIVER,
    type="k8s_events",
    aliases=("k8sevents",),
    config=K8sEventsConfig,
    create=K8sEventsReceiver,
    signals=frozenset({Signal.LOGS}),
)

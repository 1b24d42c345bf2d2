"""host_metrics: CPU, memory, disks, file systems, network, paging and processes of this machine.

Source: opentelemetry-collector-contrib, receiver/hostmetricsreceiver; same metrics, attributes, units and scopes.
"""

from heliograph.component.factory import Factory
from heliograph.component.ids import Kind, Signal
from heliograph.receivers.host_metrics.config import HostMetricsConfig
from heliograph.receivers.host_metrics.receiver import HostMetricsReceiver

FACTORY = Factory(
    kind=Kind.RECEIVER,
    type="host_metrics",
    aliases=("hostmetrics",),
    config=HostMetricsConfig,
    create=HostMetricsReceiver,
    signals=frozenset({Signal.METRICS}),
)

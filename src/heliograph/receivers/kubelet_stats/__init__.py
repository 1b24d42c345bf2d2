"""kubelet_stats: metrics of a node, its pods, containers and volumes, from its kubelet.

Source: opentelemetry-collector-contrib, receiver/kubeletstatsreceiver; same metrics, attributes, units and scope.
"""

from heliograph.component.factory import Factory
from heliograph.component.ids import Kind, Signal
from heliograph.receivers.kubelet_stats.config import KubeletStatsConfig
from heliograph.receivers.kubelet_stats.receiver import KubeletStatsReceiver

FACTORY = Factory(
    kind=Kind.RECEIVER,
    type="kubelet_stats",
    aliases=("kubeletstats",),
    config=KubeletStatsConfig,
    create=KubeletStatsReceiver,
    signals=frozenset({Signal.METRICS}),
)

"""k8s_leader_elector: one of several replicas leads, by a Lease in the Kubernetes API; the others stand by.

Source: opentelemetry-collector-contrib, extension/k8sleaderelector, and client-go's leaderelection that it uses. Both
work on the same Lease in the same way, so that replicas of this program and of upstream's may stand beside one another.
"""

from heliograph.component.factory import Factory
from heliograph.component.ids import Kind
from heliograph.extensions.k8s_leader_elector.config import K8sLeaderElectorConfig
from heliograph.extensions.k8s_leader_elector.extension import K8sLeaderElector

FACTORY = Factory(
    kind=Kind.EXTENSION,
    type="k8s_leader_elector",
    config=K8sLeaderElectorConfig,
    create=K8sLeaderElector,
    signals=frozenset(),
)

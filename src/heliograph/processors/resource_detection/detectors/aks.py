"""The `aks` detector: Azure's Kubernetes, a pod on a machine that has Azure's metadata service.

The cluster's name is in that of the resource group of its machines, MC_<group>_<cluster>_<location>, unless somebody
chose another: then the group's name itself stands for it.
Source: opentelemetry-collector-contrib, resourcedetectionprocessor/internal/azure/aks (0.156).
"""

from heliograph.processors.resource_detection.asking import Asker, word
from heliograph.processors.resource_detection.cluster_api import KUBERNETES
from heliograph.processors.resource_detection.config import AksConfig
from heliograph.processors.resource_detection.detected import Absent, Detected, selected
from heliograph.processors.resource_detection.detectors.azure import compute


async def detect(config: AksConfig, asker: Asker) -> Detected:
    """Raises Absent where this is no pod on Azure."""
    if not asker.environ.get(KUBERNETES):
        raise Absent(f"{KUBERNETES} is not set: this is no pod")
    group = word(await compute(asker), "resourceGroupName")
    parts = group.split("_")
    name = parts[2] if len(parts) == 4 and parts[0].lower() == "mc" else group
    found = {"cloud.provider": "azure", "cloud.platform": "azure.aks", "k8s.cluster.name": name}
    return selected(found, config.resource_attributes)

"""k8s_attributes: what the Kubernetes API knows of the pod that telemetry came from, added to its resource.

Source: opentelemetry-collector-contrib, processor/k8sattributesprocessor.
"""

from heliograph.component.factory import Factory
from heliograph.component.ids import Kind
from heliograph.processors.k8s_attributes.config import K8sAttributesConfig
from heliograph.processors.k8s_attributes.processor import K8sAttributesProcessor

FACTORY = Factory(
    kind=Kind.PROCESSOR,
    type="k8s_attributes",
    aliases=("k8sattributes",),
    config=K8sAttributesConfig,
    create=K8sAttributesProcessor,
)

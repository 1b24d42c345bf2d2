"""resource_detection: attributes of the machine and its environment, added to every resource.

Source: opentelemetry-collector-contrib, processor/resourcedetectionprocessor.
"""

from heliograph.component.factory import Factory
from heliograph.component.ids import Kind
from heliograph.processors.resource_detection.config import ResourceDetectionConfig
from heliograph.processors.resource_detection.processor import ResourceDetectionProcessor

FACTORY = Factory(
    kind=Kind.PROCESSOR,
    type="resource_detection",
    aliases=("resourcedetection",),
    config=ResourceDetectionConfig,
    create=ResourceDetectionProcessor,
)

"""The `azure` detector: this virtual machine, from Azure's instance metadata service.

Sources: Azure documentation, "Azure Instance Metadata Service"; opentelemetry-collector-contrib,
resourcedetectionprocessor/internal/azure (0.156). AZURE_POD_IDENTITY_AUTHORITY_HOST
names another server.
"""

from typing import Any

from heliograph.processors.resource_detection.asking import Asker, fields, word
from heliograph.processors.resource_detection.config import AzureConfig, matching
from heliograph.processors.resource_detection.detected import Absent, Detected, DetectionError, selected

_HOST = "http://169.254.169.254"
_QUERY = "/metadata/instance/compute?format=json&api-version=2020-09-01"


async def compute(asker: Asker) -> dict[str, Any]:
    """The machine's `compute` metadata. Raises Absent."""
    base = (asker.environ.get("AZURE_POD_IDENTITY_AUTHORITY_HOST") or _HOST).rstrip("/")
    answer = await asker.probe(base + _QUERY, {"Metadata": "true"})
    try:
        return fields(answer.text, base)
    except DetectionError as error:
        asker.found = False
        raise Absent(str(error)) from None


async def detect(config: AzureConfig, asker: Asker) -> Detected:
    """Raises Absent outside of Azure."""
    machine = await compute(asker)
    profile = machine.get("osProfile")
    name = word(machine, "name")
    found = {
        "cloud.provider": "azure",
        "cloud.platform": "azure.vm",
        "host.name": (word(profile, "computerName") if isinstance(profile, dict) else "") or name,
        "cloud.region": word(machine, "location"),
        "host.id": word(machine, "vmId"),
        "cloud.account.id": word(machine, "subscriptionId"),
        "cloud.availability_zone": word(machine, "zone"),
        "azure.vm.name": name,
        "azure.vm.size": word(machine, "vmSize"),
        "azure.vm.scaleset.name": word(machine, "vmScaleSetName"),
        "azure.resourcegroup.name": word(machine, "resourceGroupName"),
    }
    detected = selected({name: value for name, value in found.items() if value}, config.resource_attributes)
    listed = machine.get("tagsList")
    tags = {
        word(tag, "name"): word(tag, "value")
        for tag in (listed if isinstance(listed, list) else ())
        if isinstance(tag, dict)
    }
    tagged = {f"azure.tag.{name}": value for name, value in matching(config.tags, tags).items()}
    return Detected({**detected.attributes, **tagged}, detected.schema_url)

"""The `ec2` detector: this EC2 instance, from its metadata service; its tags from there or from the EC2 API.

Source: opentelemetry-collector-contrib, resourcedetectionprocessor/internal/aws/ec2 (0.156).
"""

from urllib.parse import quote

from heliograph.processors.resource_detection.asking import Asker
from heliograph.processors.resource_detection.aws import ec2_api
from heliograph.processors.resource_detection.aws.imds import Imds
from heliograph.processors.resource_detection.config import DEFAULT_ATTEMPTS, Ec2Config, matching
from heliograph.processors.resource_detection.detected import Absent, Detected, DetectionError, selected


async def detect(config: Ec2Config, asker: Asker) -> Detected:
    """Raises Absent where there is no metadata service, or DetectionError with fail_on_missing_metadata."""
    imds = Imds(asker)
    asker.found = config.fail_on_missing_metadata
    patient = config.fail_on_missing_metadata or config.max_attempts > DEFAULT_ATTEMPTS or not config.max_attempts
    try:
        await imds.find(config.max_attempts if patient else 1, config.max_backoff)
    except Absent as error:
        if config.fail_on_missing_metadata:
            raise DetectionError(str(error)) from None
        raise
    instance = await imds.instance()
    found = {
        "cloud.provider": "aws",
        "cloud.platform": "aws_ec2",
        **instance.attributes(),
        "host.name": await imds.hostname(),
    }
    detected = selected(found, config.resource_attributes)
    if not config.tags:
        return detected
    warnings: tuple[str, ...] = ()
    tags: dict[str, str] = {}
    try:
        if config.tags_from_imds:
            names = (await imds.get("meta-data/tags/instance")).split("\n")
            for name in matching(config.tags, dict.fromkeys(filter(None, names), "")):
                tags[name] = await imds.get(f"meta-data/tags/instance/{quote(name, safe='')}")
        else:
            tags = matching(config.tags, await ec2_api.tags(asker, imds, instance.region, instance.id))
    except DetectionError as error:
        warnings = (f"tags: {error}",)
    tagged = {f"ec2.tag.{name}": value for name, value in tags.items()}
    return Detected({**detected.attributes, **tagged}, detected.schema_url, warnings)

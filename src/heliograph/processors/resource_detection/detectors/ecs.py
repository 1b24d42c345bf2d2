"""The `ecs` detector: this ECS task, from its task metadata endpoint (version 4, or 3), which a variable names.

Log groups and streams are those of the task's other running containers that log to CloudWatch.
Source: opentelemetry-collector-contrib, resourcedetectionprocessor/internal/aws/ecs (0.156); Amazon ECS documentation.
"""

from collections.abc import Mapping
from typing import Any

from heliograph.otlp.attributes import Value
from heliograph.processors.resource_detection.asking import Asker, fields, word
from heliograph.processors.resource_detection.config import EcsConfig
from heliograph.processors.resource_detection.detected import Absent, Detected, selected

_VARIABLES = ("ECS_CONTAINER_METADATA_URI_V4", "ECS_CONTAINER_METADATA_URI")


async def detect(config: EcsConfig, asker: Asker) -> Detected:
    """Raises Absent outside of a task."""
    base = next((asker.environ[name] for name in _VARIABLES if asker.environ.get(name)), "")
    if not base:
        raise Absent(f"neither {' nor '.join(_VARIABLES)} is set: this is no task")
    asker.found = True
    task = fields(await asker.text(f"{base}/task"), f"{base}/task")
    arn = word(task, "TaskARN")
    parts = arn.split(":")
    region, account, id_ = (parts[3], parts[4], parts[5].split("/")[-1]) if len(parts) > 5 else ("", "", "")
    cluster, launch = word(task, "Cluster"), word(task, "LaunchType").lower()
    found: dict[str, Value] = {
        "cloud.provider": "aws",
        "cloud.platform": "aws_ecs",
        "aws.ecs.task.arn": arn,
        "aws.ecs.task.family": word(task, "Family"),
        "aws.ecs.task.revision": word(task, "Revision"),
        "cloud.account.id": account,
        "cloud.region": region,
        "aws.ecs.task.id": id_,
        "aws.ecs.cluster.arn": cluster if ":" in cluster else f"arn:aws:ecs:{region}:{account}:cluster/{cluster}",
        "cloud.availability_zone": word(task, "AvailabilityZone"),
        "aws.ecs.launchtype": launch if launch in ("ec2", "fargate") else "",
    }
    found = {name: value for name, value in found.items() if value}
    own = fields(await asker.text(base), base)
    return selected(
        {**found, **_logs(task.get("Containers"), word(own, "DockerId"), account)}, config.resource_attributes
    )


def _logs(containers: Any, own: str, account: str) -> Mapping[str, Value]:
    groups: list[Value] = []
    group_arns: list[Value] = []
    streams: list[Value] = []
    stream_arns: list[Value] = []
    for container in containers if isinstance(containers, list) else ():
        if not isinstance(container, dict) or word(container, "DockerId") == own:
            continue
        options = container.get("LogOptions")
        kind = (word(container, "Type"), word(container, "KnownStatus"), word(container, "LogDriver"))
        if kind != ("NORMAL", "RUNNING", "awslogs") or not isinstance(options, dict) or not options:
            continue
        group, stream = word(options, "awslogs-group"), word(options, "awslogs-stream")
        arn = f"arn:aws:logs:{word(options, 'awslogs-region')}:{account}:log-group:{group}"
        groups.append(group)
        group_arns.append(arn)
        streams.append(stream)
        stream_arns.append(f"{arn}:log-stream:{stream}")
    if not groups:
        return {}
    return {
        "aws.log.group.names": groups,
        "aws.log.group.arns": group_arns,
        "aws.log.stream.names": streams,
        "aws.log.stream.arns": stream_arns,
    }

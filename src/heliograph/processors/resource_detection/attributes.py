"""Which attributes each detector can set, and which of them it does when nothing is said.

Source: opentelemetry-collector-contrib 0.156, what print-config shows of every detector.
"""

from collections.abc import Mapping
from typing import ClassVar

from heliograph.component.switches import Switches


def _on(*names: str) -> Mapping[str, bool]:
    return dict.fromkeys(names, True)


def _off(*names: str) -> Mapping[str, bool]:
    return dict.fromkeys(names, False)


_CLOUD = ("cloud.provider", "cloud.platform")
_INSTANCE = (
    *("cloud.account.id", "cloud.availability_zone", "cloud.region"),
    *("host.id", "host.image.id", "host.name", "host.type"),
)


class SystemAttributes(Switches):
    """Attributes of the system detector."""

    DEFAULTS: ClassVar[Mapping[str, bool]] = {
        "host.arch": False,
        "host.cpu.cache.l2.size": False,
        "host.cpu.family": False,
        "host.cpu.model.id": False,
        "host.cpu.model.name": False,
        "host.cpu.stepping": False,
        "host.cpu.vendor.id": False,
        "host.id": False,
        "host.interface": False,
        "host.ip": False,
        "host.mac": False,
        "host.name": True,
        "os.build.id": False,
        "os.description": False,
        "os.name": False,
        "os.type": True,
        "os.version": False,
    }


class AksAttributes(Switches):
    """Attributes of the aks detector."""

    DEFAULTS: ClassVar[Mapping[str, bool]] = {**_on(*_CLOUD), **_off("k8s.cluster.name")}


class AzureAttributes(Switches):
    """Attributes of the azure detector."""

    DEFAULTS: ClassVar[Mapping[str, bool]] = {
        **_on(*_CLOUD, "cloud.account.id", "cloud.region", "host.id", "host.name"),
        **_on("azure.resourcegroup.name", "azure.vm.name", "azure.vm.scaleset.name", "azure.vm.size"),
        **_off("cloud.availability_zone"),
    }


class DockerAttributes(Switches):
    """Attributes of the docker detector."""

    DEFAULTS: ClassVar[Mapping[str, bool]] = {
        **_on("host.name", "os.type"),
        **_off("container.image.name", "container.name"),
    }


class Ec2Attributes(Switches):
    """Attributes of the ec2 detector."""

    DEFAULTS: ClassVar[Mapping[str, bool]] = _on(*_CLOUD, *_INSTANCE)


class EcsAttributes(Switches):
    """Attributes of the ecs detector."""

    DEFAULTS: ClassVar[Mapping[str, bool]] = _on(
        *_CLOUD,
        *("cloud.account.id", "cloud.availability_zone", "cloud.region", "aws.ecs.cluster.arn", "aws.ecs.launchtype"),
        *("aws.ecs.task.arn", "aws.ecs.task.family", "aws.ecs.task.id", "aws.ecs.task.revision"),
        *("aws.log.group.arns", "aws.log.group.names", "aws.log.stream.arns", "aws.log.stream.names"),
    )


class EksAttributes(Switches):
    """Attributes of the eks detector."""

    DEFAULTS: ClassVar[Mapping[str, bool]] = {**_on(*_CLOUD), **_off(*_INSTANCE, "k8s.cluster.name")}


class GcpAttributes(Switches):
    """Attributes of the gcp detector."""

    DEFAULTS: ClassVar[Mapping[str, bool]] = {
        **_on(*_CLOUD, "cloud.account.id", "cloud.availability_zone", "cloud.region", "k8s.cluster.name"),
        **_on("faas.instance", "faas.name", "faas.version", "host.id", "host.name", "host.type"),
        **_on("gcp.cloud_run.job.execution", "gcp.cloud_run.job.task_index"),
        **_on(*(f"gcp.gce.instance_group_manager.{name}" for name in ("name", "region", "zone"))),
        **_off("gcp.gce.instance.hostname", "gcp.gce.instance.name"),
    }


class K8sApiAttributes(Switches):
    """Attributes of the k8s_api detector."""

    DEFAULTS: ClassVar[Mapping[str, bool]] = _on("k8s.cluster.uid", "k8s.node.name", "k8s.node.uid")


class KubeadmAttributes(Switches):
    """Attributes of the kubeadm detector."""

    DEFAULTS: ClassVar[Mapping[str, bool]] = _on("k8s.cluster.name", "k8s.cluster.uid")

"""The `eks` detector: Amazon's Kubernetes. The instance from its metadata service, or from its node and the EC2 API.

It is EKS when the pod has a role of EKS, the cluster issues tokens as EKS does, or says so in its version. What the EC2
API refuses to tell is warned of, and the rest is kept (upstream then drops everything).
Source: opentelemetry-collector-contrib, resourcedetectionprocessor/internal/aws/eks (0.156).
"""

from urllib.parse import quote

from heliograph.processors.resource_detection.asking import Asker, word
from heliograph.processors.resource_detection.aws import ec2_api
from heliograph.processors.resource_detection.aws.credentials import found_imds
from heliograph.processors.resource_detection.cluster_api import KUBERNETES, ClusterApi
from heliograph.processors.resource_detection.config import EksConfig
from heliograph.processors.resource_detection.detected import Absent, Detected, DetectionError, selected


async def detect(config: EksConfig, asker: Asker) -> Detected:
    """Raises Absent where this is no EKS."""
    await _make_sure(asker)
    asker.found = True
    on = config.resource_attributes
    found = {"cloud.provider": "aws", "cloud.platform": "aws_eks"}
    if not on - found.keys():
        return selected(found, on)
    warnings: tuple[str, ...] = ()
    imds = await found_imds(asker)
    try:
        if imds is not None:
            instance = await imds.instance()
            region, id_ = instance.region, instance.id
            found |= instance.attributes()
            found["host.name"] = await imds.hostname()
            wanted = {"k8s.cluster.name"}
        else:
            region, zone, id_ = await _from_node(config, asker)
            found |= {"host.id": id_, "cloud.availability_zone": zone, "cloud.region": region}
            wanted = {"cloud.account.id", "host.image.id", "host.type", "host.name", "k8s.cluster.name"}
        if wanted & on:
            told = await ec2_api.instance_attributes(asker, imds, region, id_)
            found |= {name: value for name, value in told.items() if name in wanted}
    except DetectionError as error:
        warnings = (str(error),)
    return selected(found, on, warnings)


async def _make_sure(asker: Asker) -> None:
    environ = asker.environ
    if not environ.get(KUBERNETES):
        raise Absent(f"{KUBERNETES} is not set: this is no pod")
    if "eks.amazonaws.com" in environ.get("AWS_WEB_IDENTITY_TOKEN_FILE", ""):
        return
    if "eks-pod-identity" in environ.get("AWS_CONTAINER_AUTHORIZATION_TOKEN_FILE", ""):
        return
    async with ClusterApi(asker) as cluster:
        try:
            issuer = await cluster.get("/.well-known/openid-configuration")
        except DetectionError:
            issuer = None
        if issuer is not None and "oidc.eks." in word(issuer, "issuer"):
            return
        version = await cluster.get("/version")
    assert version is not None
    if "-eks-" not in word(version, "gitVersion"):
        raise Absent("neither the issuer nor the version of this cluster is one of EKS")


async def _from_node(config: EksConfig, asker: Asker) -> tuple[str, str, str]:
    """(region, availability zone, instance) from the node's providerID: aws:///eu-west-1a/i-0123."""
    name = asker.environ.get(config.node_from_env_var, "") if config.node_from_env_var else ""
    if not name:
        raise DetectionError("no metadata service, and no node: name the variable with its name in node_from_env_var")
    async with ClusterApi(asker) as cluster:
        node = await cluster.get(f"/api/v1/nodes/{quote(name, safe='')}")
    spec = node.get("spec") if node is not None else None
    provider = word(spec, "providerID") if isinstance(spec, dict) else ""
    scheme, _, place = provider.partition(":///")
    zone, _, id_ = place.partition("/")
    if scheme != "aws" or not zone or not id_:
        raise DetectionError(f"the node's providerID {provider!r} names no instance of EC2")
    return zone[:-1], zone, id_.partition("/")[0]

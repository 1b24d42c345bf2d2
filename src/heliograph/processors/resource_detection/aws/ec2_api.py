"""DescribeTags and DescribeInstances of the EC2 API, signed with version 4 signatures.

Sources: Amazon EC2 API Reference (2016-11-15); "Create a signed AWS API request".
"""

import hashlib
import hmac
from datetime import UTC, datetime
from typing import TYPE_CHECKING
from urllib.parse import quote, urlsplit

from heliograph.processors.resource_detection.asking import Asker
from heliograph.processors.resource_detection.aws.credentials import Credentials, credentials, document, endpoint
from heliograph.processors.resource_detection.aws.imds import Imds

if TYPE_CHECKING:
    from xml.etree import ElementTree


_CLUSTER_TAGS = ("aws:eks:cluster-name", "eks:cluster-name")
_CLUSTER_PREFIX = "kubernetes.io/cluster/"


async def tags(asker: Asker, imds: Imds | None, region: str, instance: str) -> dict[str, str]:
    """Tags of an instance. Raises DetectionError."""
    filters = {"Filter.1.Name": "resource-id", "Filter.1.Value.1": instance}
    return _tags(await _call(asker, imds, region, {"Action": "DescribeTags", **filters}), "tagSet")


async def instance_attributes(asker: Asker, imds: Imds | None, region: str, instance: str) -> dict[str, str]:
    """What DescribeInstances knows of an instance, as resource attributes. Raises DetectionError."""
    root = await _call(asker, imds, region, {"Action": "DescribeInstances", "InstanceId.1": instance})
    found = {
        "cloud.account.id": root.findtext(".//{*}reservationSet/{*}item/{*}ownerId") or "",
        "host.image.id": root.findtext(".//{*}instancesSet/{*}item/{*}imageId") or "",
        "host.type": root.findtext(".//{*}instancesSet/{*}item/{*}instanceType") or "",
        "host.name": root.findtext(".//{*}instancesSet/{*}item/{*}privateDnsName") or "",
    }
    for name, value in _tags(root, "tagSet").items():
        if name in _CLUSTER_TAGS:
            found["k8s.cluster.name"] = value
            break
        if name.startswith(_CLUSTER_PREFIX):
            found["k8s.cluster.name"] = name.removeprefix(_CLUSTER_PREFIX)
            break
    return {name: value for name, value in found.items() if value}


def _tags(root: "ElementTree.Element", set_: str) -> dict[str, str]:
    items = root.iterfind(f".//{{*}}{set_}/{{*}}item")
    return {item.findtext("{*}key") or "": item.findtext("{*}value") or "" for item in items}


async def _call(asker: Asker, imds: Imds | None, region: str, parameters: dict[str, str]) -> "ElementTree.Element":
    url = endpoint(asker, "ec2", region)
    with_version = {**parameters, "Version": "2016-11-15"}
    body = "&".join(f"{quote(name, safe='')}={quote(value, safe='')}" for name, value in sorted(with_version.items()))
    headers = signed(url, body.encode(), region, await credentials(asker, imds, region), datetime.now(UTC))
    return document(await asker.text(url, headers, method="POST", body=body.encode()), url)


def signed(url: str, body: bytes, region: str, by: Credentials, now: datetime, service: str = "ec2") -> dict[str, str]:
    """Headers of a POST of a form, with its signature. now: in UTC."""
    place = urlsplit(url)
    stamp = now.strftime("%Y%m%dT%H%M%SZ")
    headers = {
        "content-type": "application/x-www-form-urlencoded",
        "host": place.netloc,
        "x-amz-date": stamp,
    }
    if by.session:
        headers["x-amz-security-token"] = by.session
    names = ";".join(sorted(headers))
    lines = "".join(f"{name}:{headers[name]}\n" for name in sorted(headers))
    request = f"POST\n{place.path or '/'}\n\n{lines}\n{names}\n{hashlib.sha256(body).hexdigest()}"
    scope = f"{stamp[:8]}/{region}/{service}/aws4_request"
    text = f"AWS4-HMAC-SHA256\n{stamp}\n{scope}\n{hashlib.sha256(request.encode()).hexdigest()}"
    secret = f"AWS4{by.secret}".encode()
    for part in (stamp[:8], region, service, "aws4_request"):
        secret = hmac.digest(secret, part.encode(), "sha256")
    signature = hmac.digest(secret, text.encode(), "sha256").hex()
    headers["authorization"] = (
        f"AWS4-HMAC-SHA256 Credential={by.key}/{scope}, SignedHeaders={names}, Signature={signature}"
    )
    return headers

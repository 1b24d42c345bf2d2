"""Credentials for the EC2 API, from where AWS's SDKs take them, in their order.

Environment; a web identity token (EKS service accounts) exchanged at STS; the container's endpoint (ECS, EKS Pod
Identity); the instance's role. Source: AWS SDKs and Tools Reference Guide, "Standardized credential providers".
"""

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.parse import urlencode, urlsplit

from heliograph.processors.resource_detection.asking import Asker, fields, word
from heliograph.processors.resource_detection.aws.imds import Imds
from heliograph.processors.resource_detection.detected import Absent, DetectionError

if TYPE_CHECKING:
    from xml.etree import ElementTree


_CONTAINER = "http://169.254.170.2"
_LOCAL = ("127.0.0.1", "localhost", "::1", "169.254.170.2", "169.254.170.23", "fd00:ec2::23")


@dataclass(frozen=True, slots=True, repr=False)
class Credentials:
    """key, secret, session token ("" for none)."""

    key: str
    secret: str
    session: str


async def credentials(asker: Asker, imds: Imds | None, region: str) -> Credentials:
    """The first that are there. imds: None when there is no metadata service. Raises DetectionError."""
    environ = asker.environ
    if environ.get("AWS_ACCESS_KEY_ID") and environ.get("AWS_SECRET_ACCESS_KEY"):
        return Credentials(
            environ["AWS_ACCESS_KEY_ID"], environ["AWS_SECRET_ACCESS_KEY"], environ.get("AWS_SESSION_TOKEN", "")
        )
    if environ.get("AWS_WEB_IDENTITY_TOKEN_FILE") and environ.get("AWS_ROLE_ARN"):
        return await _web_identity(asker, region)
    if environ.get("AWS_CONTAINER_CREDENTIALS_FULL_URI") or environ.get("AWS_CONTAINER_CREDENTIALS_RELATIVE_URI"):
        return await _container(asker)
    if imds is None:
        raise DetectionError("there are no AWS credentials in this process's environment")
    role = (await imds.get("meta-data/iam/security-credentials/")).strip().partition("\n")[0]
    return _from_json(await imds.get(f"meta-data/iam/security-credentials/{role}"), f"the instance's role {role}")


async def _web_identity(asker: Asker, region: str) -> Credentials:
    environ = asker.environ
    query = urlencode(
        {
            "Action": "AssumeRoleWithWebIdentity",
            "Version": "2011-06-15",
            "RoleArn": environ["AWS_ROLE_ARN"],
            "RoleSessionName": environ.get("AWS_ROLE_SESSION_NAME") or "heliograph",
            "WebIdentityToken": _read(environ["AWS_WEB_IDENTITY_TOKEN_FILE"]),
        }
    )
    url = endpoint(asker, "sts", region)
    headers = {"Content-Type": "application/x-www-form-urlencoded"}
    root = document(await asker.text(url, headers, method="POST", body=query.encode()), url)
    found = {element.tag.rpartition("}")[2]: element.text or "" for element in root.iter()}
    if not found.get("AccessKeyId"):
        raise DetectionError(f"{url} gave no credentials")
    return Credentials(found["AccessKeyId"], found.get("SecretAccessKey", ""), found.get("SessionToken", ""))


async def _container(asker: Asker) -> Credentials:
    environ = asker.environ
    relative = environ.get("AWS_CONTAINER_CREDENTIALS_RELATIVE_URI", "")
    url = f"{_CONTAINER}{relative}" if relative else environ["AWS_CONTAINER_CREDENTIALS_FULL_URI"]
    if not url.startswith("https://") and urlsplit(url).hostname not in _LOCAL:
        raise DetectionError(f"AWS_CONTAINER_CREDENTIALS_FULL_URI {url!r} is neither local nor https")
    token = environ.get("AWS_CONTAINER_AUTHORIZATION_TOKEN", "")
    if environ.get("AWS_CONTAINER_AUTHORIZATION_TOKEN_FILE"):
        token = _read(environ["AWS_CONTAINER_AUTHORIZATION_TOKEN_FILE"])
    return _from_json(await asker.text(url, {"Authorization": token} if token else {}), url)


def _from_json(text: str, who: str) -> Credentials:
    found = fields(text, who)
    if not word(found, "AccessKeyId"):
        raise DetectionError(f"{who} gave no credentials")
    return Credentials(word(found, "AccessKeyId"), word(found, "SecretAccessKey"), word(found, "Token"))


def _read(path: str) -> str:
    try:
        return Path(path).read_text().strip()
    except (OSError, UnicodeDecodeError) as error:
        raise DetectionError(f"{path} cannot be read: {error}") from None


def endpoint(asker: Asker, service: str, region: str) -> str:
    """URL of a service in a region, or what AWS_ENDPOINT_URL(_<SERVICE>) says."""
    named = asker.environ.get(f"AWS_ENDPOINT_URL_{service.upper()}") or asker.environ.get("AWS_ENDPOINT_URL")
    if named:
        return f"{named.rstrip('/')}/"
    if not region.replace("-", "").isalnum():
        raise DetectionError(f"{region!r} is no name of a region")
    suffix = "amazonaws.com.cn" if region.startswith("cn-") else "amazonaws.com"
    return f"https://{service}.{region}.{suffix}/"


def document(text: str, who: str) -> "ElementTree.Element":
    """An answer as XML. Raises DetectionError."""
    from xml.etree import ElementTree

    try:
        return ElementTree.fromstring(text)
    except ElementTree.ParseError as error:
        raise DetectionError(f"{who}: the answer is no XML: {error}") from None


async def found_imds(asker: Asker) -> Imds | None:
    """The metadata service, or None when there is none."""
    imds = Imds(asker)
    try:
        await imds.find()
    except Absent:
        return None
    return imds

"""The EC2 instance metadata service: version 2 with a token, version 1 where no token is to be had.

Source: AWS documentation, "Use the Instance Metadata Service to access instance metadata". The variables are those of
AWS's SDKs. A container's packets may be dropped on the way back (hop limit), hence the short wait for the token.
"""

import random
from collections.abc import Mapping
from dataclasses import dataclass

from heliograph.processors.resource_detection.asking import PROBE_SECONDS, Asker, fields, pause, word
from heliograph.processors.resource_detection.detected import Absent, DetectionError, TimedOut

_TOKEN = "X-aws-ec2-metadata-token"
_HOSTS = {"ipv4": "http://169.254.169.254", "ipv6": "http://[fd00:ec2::254]"}


@dataclass(frozen=True, slots=True)
class Instance:
    """The instance identity document."""

    account: str
    region: str
    zone: str
    id: str
    image: str
    type: str

    def attributes(self) -> dict[str, str]:
        """As resource attributes."""
        return {
            "cloud.region": self.region,
            "cloud.account.id": self.account,
            "cloud.availability_zone": self.zone,
            "host.id": self.id,
            "host.image.id": self.image,
            "host.type": self.type,
        }


class Imds:
    """`find` before the rest."""

    def __init__(self, asker: Asker) -> None:
        self._asker = asker
        environ = asker.environ
        mode = environ.get("AWS_EC2_METADATA_SERVICE_ENDPOINT_MODE", "ipv4").lower()
        self._base = (environ.get("AWS_EC2_METADATA_SERVICE_ENDPOINT") or _HOSTS.get(mode, _HOSTS["ipv4"])).rstrip("/")
        self._headers: Mapping[str, str] = {}

    async def find(self, attempts: int = 1, longest_pause: float = 20.0) -> None:
        """Make sure that it is there. attempts: how often to try, 0 for ever. Raises Absent."""
        if self._asker.environ.get("AWS_EC2_METADATA_DISABLED", "").lower() == "true":
            raise Absent("AWS_EC2_METADATA_DISABLED is true")
        tried = 0
        while True:
            tried += 1
            try:
                await self._try()
                return
            except Absent:
                if tried == attempts:
                    raise
            await pause(min(longest_pause, random.random() * 2 ** min(tried, 20)))

    async def _try(self) -> None:
        url = f"{self._base}/latest/api/token"
        ttl = {f"{_TOKEN}-ttl-seconds": "21600"}
        try:
            answer = await self._asker.ask(url, ttl, method="PUT", body=b"", seconds=PROBE_SECONDS)
        except TimedOut:
            self._headers = {}
        except DetectionError as error:
            raise Absent(str(error)) from None
        else:
            self._headers = {_TOKEN: answer.text.strip()} if answer.status == 200 else {}
        await self._asker.probe(f"{self._base}/latest/meta-data/instance-id", self._headers)

    async def get(self, path: str) -> str:
        """A value under /latest. Raises DetectionError."""
        return await self._asker.text(f"{self._base}/latest/{path}", self._headers)

    async def instance(self) -> Instance:
        """The identity document. Raises DetectionError."""
        found = fields(await self.get("dynamic/instance-identity/document"), "the instance identity document")
        names = ("accountId", "region", "availabilityZone", "instanceId", "imageId", "instanceType")
        return Instance(*(word(found, name) for name in names))

    async def hostname(self) -> str:
        """The instance's private name. Raises DetectionError."""
        return (await self.get("meta-data/hostname")).strip()

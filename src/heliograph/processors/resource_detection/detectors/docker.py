"""The `docker` detector: the machine behind the Docker daemon, and this container as the daemon knows it.

Sources: Docker Engine API (/info, /containers/<id>/json); opentelemetry-collector-contrib,
resourcedetectionprocessor/internal/docker (0.156).
"""

import asyncio
import os
import socket
from urllib.parse import quote

from heliograph.processors.resource_detection.asking import Asker, fields, word
from heliograph.processors.resource_detection.config import DockerConfig
from heliograph.processors.resource_detection.detected import Absent, Detected, DetectionError, selected

_HOST = "unix:///var/run/docker.sock"


async def detect(config: DockerConfig, asker: Asker) -> Detected:
    """Raises Absent where there is no daemon, DetectionError where it may not be asked."""
    named = asker.environ.get("DOCKER_HOST", "")
    scheme, _, place = (named or _HOST).partition("://")
    if scheme not in ("unix", "tcp", "http") or (scheme != "unix" and asker.environ.get("DOCKER_TLS_VERIFY")):
        raise DetectionError(f"DOCKER_HOST {named!r} is not supported; use unix:// or tcp:// without TLS")
    path = place if scheme == "unix" else ""
    base = "http://docker" if path else f"http://{place}"
    if path and not await asyncio.to_thread(os.path.exists, path):
        raise Absent(f"there is no {path}")
    asker.found = bool(path or named)
    on = config.resource_attributes
    info = fields(await asker.text(f"{base}/info", socket=path), f"{base}/info")
    found = {"os.type": word(info, "OSType").lower(), "host.name": word(info, "Name")}
    if on & {"container.name", "container.image.name"}:
        own = quote(socket.gethostname(), safe="")
        container = fields(await asker.text(f"{base}/containers/{own}/json", socket=path), f"container {own}")
        options = container.get("Config")
        found["container.name"] = word(container, "Name").removeprefix("/")
        found["container.image.name"] = word(options, "Image") if isinstance(options, dict) else ""
    return selected({name: value for name, value in found.items() if value}, on)

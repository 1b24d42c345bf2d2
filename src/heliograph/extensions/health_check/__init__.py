"""The health_check extension: a page that probes ask.

200 with upstream's JSON while the process is ready and no component is broken for good. 503 before it is ready, when it
is shutting down, and when a component has PERMANENT_ERROR or FATAL_ERROR. Components that are not well are named with
status and message in both cases, under `components`; a recoverable error alone is no reason for 503, since killing a
process whose backend is away helps nobody and loses what it holds.
Source: contrib's extension/healthcheckextension; upstream's answer has no `components` and looks at readiness alone.
"""

import json
import ssl
from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any

from heliograph.component.factory import Factory, Settings
from heliograph.component.ids import Kind
from heliograph.component.lifecycle import Host, Status
from heliograph.extensions.health_check.config import HealthCheckConfig
from heliograph.net.address import split
from heliograph.net.tls import server_context
from heliograph.telemetry.endpoint import NOT_FOUND, Endpoint, Page

_WELL = frozenset((Status.OK, Status.STARTING))
_BROKEN = frozenset((Status.PERMANENT_ERROR, Status.FATAL_ERROR))


class HealthCheck:
    """Serves the page. port: where it listens once started."""

    def __init__(self, settings: Settings, config: HealthCheckConfig) -> None:
        self._config = config
        self._log = settings.telemetry.log
        self._endpoint: Endpoint | None = None
        self._host: Host | None = None
        self._up_since = 0
        self._begun = 0.0
        self.port = 0

    async def start(self, host: Host) -> None:
        """Listen. Raises StartError when the port is taken or a certificate cannot be read."""
        self._host = host
        self._up_since, self._begun = host.clock.now_ns(), host.clock.monotonic()
        address, port = split(self._config.endpoint)
        tls: ssl.SSLContext | None = server_context(self._config.tls) if self._config.tls is not None else None
        endpoint = Endpoint(self._answer)
        self.port = await endpoint.listen(address, port, key="endpoint of health_check", tls=tls)
        self._endpoint = endpoint
        self._log.info("answering health checks on %s", self._config.endpoint)

    async def shutdown(self, deadline: float) -> None:
        """Stop listening."""
        endpoint, self._endpoint = self._endpoint, None
        if endpoint is not None:
            await endpoint.close()

    def _answer(self, path: str) -> Page:
        if path != self._config.path:
            return NOT_FOUND
        assert self._host is not None
        health = self._host.health
        sick = {name: value for name, value in health.statuses().items() if value[0] not in _WELL}
        healthy = health.ready() and not any(status in _BROKEN for status, _ in sick.values())
        fixed = self._config.response_body
        if fixed is not None:
            return Page(200 if healthy else 503, fixed.healthy if healthy else fixed.unhealthy)
        body = json.dumps(self._report(healthy, sick), separators=(",", ":"))
        return Page(200 if healthy else 503, body, "application/json")

    def _report(self, healthy: bool, sick: Mapping[str, tuple[Status, str]]) -> dict[str, Any]:
        assert self._host is not None
        uptime = round((self._host.clock.monotonic() - self._begun) * 1e9)  # whatever the wall clock did meanwhile
        since = self._up_since if healthy else None
        report: dict[str, Any] = {
            "status": "Server available" if healthy else "Server not available",
            "upSince": _rfc3339(since),
            "uptime": "" if since is None else _go_duration(uptime),
        }
        if sick:
            report["components"] = {
                name: {"status": str(status), "message": message} for name, (status, message) in sorted(sick.items())
            }
        return report


def _rfc3339(time_ns: int | None) -> str:
    if time_ns is None:
        return "0001-01-01T00:00:00Z"
    seconds, rest = divmod(time_ns, 1_000_000_000)
    text = datetime.fromtimestamp(seconds, UTC).strftime("%Y-%m-%dT%H:%M:%S")
    fraction = f".{rest:09d}".rstrip("0").rstrip(".")
    return f"{text}{fraction}Z"


def _go_duration(ns: int) -> str:
    """A duration in Go's spelling: 4.98s, 1m0.5s, 2h0m1s."""
    if ns < 1_000_000_000:
        return f"{ns / 1e6:g}ms" if ns else "0s"
    seconds, rest = divmod(ns, 1_000_000_000)
    minutes, seconds = divmod(seconds, 60)
    hours, minutes = divmod(minutes, 60)
    fraction = f".{rest:09d}".rstrip("0").rstrip(".")
    text = f"{seconds}{fraction}s"
    if hours:
        return f"{hours}h{minutes}m{text}"
    return f"{minutes}m{text}" if minutes else text


def create(settings: Settings, config: HealthCheckConfig) -> HealthCheck:
    """Make one."""
    return HealthCheck(settings, config)


FACTORY = Factory(
    kind=Kind.EXTENSION, type="health_check", config=HealthCheckConfig, create=create, signals=frozenset()
)

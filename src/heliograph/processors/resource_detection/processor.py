"""The resource_detection processor: detect once (or every refresh_interval), then edit each resource, remembered by its
bytes."""

import asyncio

from heliograph.component.batch import Batch
from heliograph.component.factory import Settings
from heliograph.component.lifecycle import Host, Status
from heliograph.otlp.attributes import decode_attributes, encode_key_value
from heliograph.otlp.resource import ResourceEditor, with_default_schema_url
from heliograph.otlp.wire import LENGTH, read_varint, skip
from heliograph.processors.resource_detection.config import ResourceDetectionConfig
from heliograph.processors.resource_detection.detected import Detected
from heliograph.processors.resource_detection.detection import detect

_ATTRIBUTES = 1 << 3 | LENGTH


class ResourceDetectionProcessor:
    """Adds what was detected to every resource."""

    def __init__(self, settings: Settings, config: ResourceDetectionConfig) -> None:
        assert settings.signal is not None
        self._next = settings.outputs[settings.signal]
        self._config = config
        self._log = settings.telemetry.log
        self._detected = Detected()
        self._editor = ResourceEditor(self._edit)
        self._task: asyncio.Task[None] | None = None

    async def start(self, host: Host) -> None:
        """Detect; receivers start afterwards, so that nothing passes unmarked."""
        self._host = host
        await self._detect()
        if self._config.refresh_interval:
            self._task = host.spawn(self._refresh(), "refresh")

    async def shutdown(self, deadline: float) -> None:
        """Stop detecting; nothing waits here."""
        if self._task is not None:
            self._task.cancel()
            self._task = None

    async def consume(self, batch: Batch) -> None:
        """Hand on the batch with its resources edited."""
        apply, schema_url = self._editor.apply, self._detected.schema_url
        parts = [apply(part) for part in batch.parts]
        if schema_url:
            parts = [with_default_schema_url(part, schema_url) for part in parts]
        await self._next.consume(batch.with_parts(parts))

    async def _refresh(self) -> None:
        while True:
            await self._host.clock.sleep(float(self._config.refresh_interval))
            await self._detect()

    async def _detect(self) -> None:
        found, problems = await detect(self._config)
        for problem in problems:
            self._log.warning("failed to detect resource: %s", problem)
        if problems:
            self._host.report(Status.RECOVERABLE_ERROR, f"failed to detect resource: {'; '.join(problems)}")
            if self._detected.attributes:
                return  # what was found before is better than a part of it
        else:
            self._host.report(Status.OK)
        if found != self._detected:
            self._log.info("detected resource information: %s", dict(found.attributes))
            self._detected = found
            self._editor.clear()

    def _edit(self, resource: bytes) -> bytes | None:
        """The serialized Resource with what was detected; attributes that came in keep their place and order."""
        came = {name for name, _ in decode_attributes(resource)}
        new = {
            name: value
            for name, value in self._detected.attributes.items()
            if self._config.override or name not in came
        }
        if not new:
            return None
        kept = resource if not came & new.keys() else _without(resource, new.keys() & came)
        return kept + b"".join(encode_key_value(1, name, value) for name, value in new.items())


def _without(resource: bytes, names: set[str]) -> bytes:
    """The serialized Resource less the attributes of these names; other fields stay."""
    kept: list[bytes] = []
    pos, size = 0, len(resource)
    while pos < size:
        start = pos
        tag, pos = read_varint(resource, pos)
        pos = skip(resource, pos, tag & 7)
        if tag == _ATTRIBUTES and decode_attributes(resource[start:pos])[0][0] in names:
            continue
        kept.append(resource[start:pos])
    return b"".join(kept)

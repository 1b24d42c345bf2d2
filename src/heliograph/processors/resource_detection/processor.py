"""The resource_detection processor: detect once (or every refresh_interval), then edit each resource, remembered by its
bytes."""

import asyncio
from weakref import WeakKeyDictionary

from heliograph.component.batch import Batch
from heliograph.component.factory import Settings
from heliograph.component.lifecycle import Host, Status
from heliograph.otlp.attributes import decode_attributes, encode_key_value
from heliograph.otlp.resource import ResourceEditor, with_default_schema_url
from heliograph.otlp.wire import LENGTH, read_varint, skip
from heliograph.processors.resource_detection.config import ResourceDetectionConfig
from heliograph.processors.resource_detection.detected import Detected
from heliograph.processors.resource_detection.detection import Outcome, detect

_ATTRIBUTES = 1 << 3 | LENGTH
_FIRST: "WeakKeyDictionary[asyncio.AbstractEventLoop, dict[int, tuple[object, asyncio.Task[Outcome]]]]"
_FIRST = WeakKeyDictionary()


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
        self._apply(await self._first())
        if self._config.refresh_interval:
            self._task = host.spawn(self._refresh(), "refresh")

    async def shutdown(self, deadline: float) -> None:
        """Stop detecting; nothing waits here."""
        _FIRST.get(asyncio.get_running_loop(), {}).pop(id(self._config), None)
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
            self._apply(await detect(self._config))

    def _apply(self, outcome: Outcome) -> None:
        for problem in outcome.problems:
            self._log.warning("failed to detect resource: %s", problem)
        for warning in outcome.found.warnings:
            self._log.warning("detected resource in part: %s", warning)
        for absent in outcome.absent:
            self._log.debug("not detected here: %s", absent)
        if outcome.problems:
            self._host.report(Status.RECOVERABLE_ERROR, f"failed to detect resource: {'; '.join(outcome.problems)}")
            if self._detected.attributes:
                return  # what was found before is better than a part of it
        else:
            self._host.report(Status.OK)
        if outcome.found != self._detected:
            self._log.info("detected resource information: %s", dict(outcome.found.attributes))
            self._detected = outcome.found
            self._editor.clear()

    async def _first(self) -> Outcome:
        """What is detected at the start: the processors of one configuration, one in each pipeline, ask once."""
        table = _FIRST.setdefault(asyncio.get_running_loop(), {})
        config = self._config
        if id(config) not in table:
            table[id(config)] = (config, asyncio.create_task(detect(config)))
        return await asyncio.shield(table[id(config)][1])

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

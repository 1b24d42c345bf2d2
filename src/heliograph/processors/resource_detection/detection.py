"""Asking all detectors, each in a thread, and merging what they found: the first to find an attribute wins."""

import asyncio
from collections.abc import Callable, Mapping
from typing import Any

from heliograph.otlp.attributes import Value
from heliograph.processors.resource_detection.config import ResourceDetectionConfig
from heliograph.processors.resource_detection.detected import Detected, DetectionError
from heliograph.processors.resource_detection.detectors import env, system

_DETECTORS: Mapping[str, tuple[Callable[[Any], Detected], str | None]] = {
    # name: function, key of its configuration
    "env": (env.detect, None),
    "system": (system.detect, "system"),
}


async def detect(config: ResourceDetectionConfig) -> tuple[Detected, list[str]]:
    """Run the detectors beside one another. Returns what was found, and what went wrong (detector: reason)."""
    tasks = {name: asyncio.create_task(_run(name, config)) for name in dict.fromkeys(config.detectors)}
    await asyncio.wait(tasks.values(), timeout=config.timeout)
    attributes: dict[str, Value] = {}
    schema_url = ""
    problems: list[str] = []
    for name, task in tasks.items():
        if not task.done():
            task.cancel()
            problems.append(f"{name}: no answer within {config.timeout:g} s")
            continue
        error = task.exception()
        if error is not None:
            problems.append(f"{name}: {error}")
            continue
        found = task.result()
        attributes = {**found.attributes, **attributes}
        schema_url = schema_url or found.schema_url
    ordered = {name: attributes[name] for name in attributes}
    return Detected(ordered, schema_url), problems


async def _run(name: str, config: ResourceDetectionConfig) -> Detected:
    function, key = _DETECTORS[name]
    try:
        return await asyncio.to_thread(function, getattr(config, key) if key else None)
    except (OSError, ValueError, LookupError) as error:
        raise DetectionError(str(error) or type(error).__name__) from error

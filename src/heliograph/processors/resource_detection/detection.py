"""Asking all detectors beside one another and merging what they found: the first to find an attribute wins.

Detectors of this machine block and run in a thread; those that ask a service are coroutines with an Asker. One of
those fails for now: it is asked again, a second later and then twice as late each time, until the timeout.
Only those in use are loaded.
"""

import asyncio
import os
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from importlib import import_module
from pathlib import Path
from typing import Any

from heliograph.kubernetes.access import SERVICE_ACCOUNT
from heliograph.otlp.attributes import Value
from heliograph.processors.resource_detection.asking import Asker, pause
from heliograph.processors.resource_detection.config import ResourceDetectionConfig
from heliograph.processors.resource_detection.detected import Absent, Detected, DetectionError, Unavailable

_PACKAGE = "heliograph.processors.resource_detection.detectors"
_BLOCKING = ("env", "system")
_MODULES = {"k8snode": "k8s_api"}
_FIRST_PAUSE = 1.0


@dataclass(frozen=True, slots=True)
class Outcome:
    """found: of all detectors. problems: failures. absent: detectors of places where this process is not, and why."""

    found: Detected
    problems: tuple[str, ...] = ()
    absent: tuple[str, ...] = ()


async def detect(
    config: ResourceDetectionConfig,
    environ: Mapping[str, str] = os.environ,
    service_account: Path = SERVICE_ACCOUNT,
) -> Outcome:
    """Run the detectors, for config.timeout at most. Each entry of problems and absent is `detector: reason`."""
    names = list(dict.fromkeys(config.detectors))
    askers = {name: Asker(environ, service_account) for name in names}
    tasks = {name: asyncio.create_task(_run(name, config, askers[name])) for name in names}
    try:
        await asyncio.wait(tasks.values(), timeout=config.timeout)
    finally:
        late = {name for name, task in tasks.items() if not task.done()}
        for name in late:
            tasks[name].cancel()
        await asyncio.gather(*tasks.values(), return_exceptions=True)
        for asker in askers.values():
            await asker.__aexit__(None, None, None)
    attributes: dict[str, Value] = {}
    schema_url = ""
    problems: list[str] = []
    absent: list[str] = []
    warnings: list[str] = []
    for name, task in tasks.items():
        if name in late:
            asker = askers[name]
            reason = asker.failure or f"no answer within {config.timeout:g} s"
            (problems if asker.found or name in _BLOCKING else absent).append(f"{name}: {reason}")
            continue
        error = task.exception()
        if isinstance(error, Absent):
            absent.append(f"{name}: {error}")
        elif error is not None:
            problems.append(f"{name}: {error}")
        else:
            found = task.result()
            attributes = {**found.attributes, **attributes}
            schema_url = schema_url or found.schema_url
            warnings += [f"{name}: {warning}" for warning in found.warnings]
    return Outcome(Detected(attributes, schema_url, tuple(warnings)), tuple(problems), tuple(absent))


async def _run(name: str, config: ResourceDetectionConfig, asker: Asker) -> Detected:
    options = getattr(config, name, None)
    detector: Callable[..., Any] = import_module(f"{_PACKAGE}.{_MODULES.get(name, name)}").detect
    try:
        if name in _BLOCKING:
            return await asyncio.to_thread(detector, options)
        wait = _FIRST_PAUSE
        while True:
            try:
                found: Detected = await detector(options, asker)
                return found
            except Unavailable as error:
                asker.found, asker.failure = True, str(error)
            await pause(wait)
            wait *= 2
    except (OSError, ValueError, LookupError) as error:
        raise DetectionError(str(error) or type(error).__name__) from error

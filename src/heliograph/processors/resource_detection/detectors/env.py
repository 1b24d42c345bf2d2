"""The `env` detector: OTEL_RESOURCE_ATTRIBUTES, a list of key=value pairs, percent-encoded.

Source: OpenTelemetry specification, Resource SDK, "Specifying resource information via an environment variable".
"""

import os
from urllib.parse import unquote

from heliograph.processors.resource_detection.detected import Detected, DetectionError

_VARIABLES = ("OTEL_RESOURCE_ATTRIBUTES", "OTEL_RESOURCE")


def detect(_: None = None) -> Detected:
    """Read the variable. Raises DetectionError when a pair cannot be read: then none of them is used."""
    for variable in _VARIABLES:
        text = os.environ.get(variable, "").strip()
        if text:
            return Detected(_parse(variable, text))
    return Detected()


def _parse(variable: str, text: str) -> dict[str, str]:
    attributes: dict[str, str] = {}
    for pair in text.split(","):
        name, equals, value = pair.partition("=")
        if not equals or not name.strip():
            if not pair.strip():
                continue
            raise DetectionError(f"{variable}: {pair.strip()!r} is no key=value pair; nothing of it is used")
        attributes[unquote(name.strip())] = unquote(value.strip())
    return attributes

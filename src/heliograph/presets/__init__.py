"""The roles of the architecture as plain Collector configurations, to run and to copy."""

from pathlib import Path

FOLDER = Path(__file__).parent


def preset(name: str) -> Path:
    """The file of a preset, for example `daemon`."""
    return FOLDER / f"{name}.yaml"

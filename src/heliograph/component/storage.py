"""What a storage extension offers: small values by key, and a folder for whoever keeps files of its own."""

from collections.abc import Iterator
from pathlib import Path
from typing import Protocol, runtime_checkable


class KeyValue(Protocol):
    """Durable small values. Every call is synchronous and survives kill -9 once it returned."""

    def get(self, key: str) -> bytes | None:
        """The value, or None."""

    def set(self, key: str, value: bytes) -> None:
        """Store a value."""

    def delete(self, key: str) -> None:
        """Forget a value; no error when there is none."""

    def items(self) -> Iterator[tuple[str, bytes]]:
        """All keys and values."""

    def close(self) -> None:
        """Release the file."""


@runtime_checkable
class Storage(Protocol):
    """A storage extension such as file_storage. `owner` names the component, for example
    "receiver_file_log_platformlogs"; two owners never share anything."""

    @property
    def fsync(self) -> bool:
        """Whether every write must reach the disk, not only the operating system."""

    def key_value(self, owner: str) -> KeyValue:
        """Open (or make) the owner's values. Raises StartError when the directory cannot be used."""

    def directory(self, owner: str) -> Path:
        """The owner's own folder, made when missing. Raises StartError."""

"""Where the exporter keeps what it cannot send: dead letters, and documents of blocked indices."""

from pathlib import Path

from heliograph.component.errors import StartError
from heliograph.component.ids import ComponentId, Signal
from heliograph.component.lifecycle import Host
from heliograph.component.storage import Storage
from heliograph.exporters.elasticsearch.config import ElasticsearchConfig
from heliograph.exporters.elasticsearch.dead_letters import file_name, owner


def letters_directory(config: ElasticsearchConfig, id: ComponentId, signal: Signal, host: Host) -> Path:
    """The folder of dead letters: the configured one, that of the storage extension, else ./dead-letters. Raises
    StartError."""
    if config.dead_letters.directory:
        directory = Path(config.dead_letters.directory)
        try:
            directory.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise StartError(
                f"exporter {id}: dead_letters::directory {directory} cannot be made: {error.strerror}"
            ) from error
        return directory
    storage = _storage(config, host)
    return Path("dead-letters") if storage is None else storage.directory(owner(id, signal))


def aside_directory(
    config: ElasticsearchConfig, id: ComponentId, signal: Signal, host: Host
) -> tuple[Path | None, bool]:
    """The folder of documents set aside and whether each write must reach the disk: that of the storage extension, else
    one beside the dead letters. None without either. Raises StartError."""
    storage = _storage(config, host)
    if storage is not None:
        return storage.directory(owner(id, signal).removesuffix("_dead_letters") + "_set_aside"), storage.fsync
    if not config.dead_letters.enabled:
        return None, False
    name = file_name(id, signal).removesuffix(".ndjson")
    return letters_directory(config, id, signal, host) / f"{name}.set-aside", True


def _storage(config: ElasticsearchConfig, host: Host) -> Storage | None:
    queue = config.sending_queue
    if queue.storage is None or not queue.enabled:
        return None
    return host.extension(queue.storage, Storage)  # type: ignore[type-abstract]

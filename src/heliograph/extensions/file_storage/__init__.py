"""`file_storage`: where components keep what must survive a restart (checkpoints, queues)."""

from heliograph.component.factory import Factory
from heliograph.component.ids import Kind
from heliograph.extensions.file_storage.config import FileStorageConfig
from heliograph.extensions.file_storage.extension import FileStorage

FACTORY = Factory(
    kind=Kind.EXTENSION,
    type="file_storage",
    config=FileStorageConfig,
    create=FileStorage,
    signals=frozenset(),
)

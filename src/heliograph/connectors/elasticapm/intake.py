"""What a batch adds to a delta: spans by their cells, log records and data points by their number."""

from collections.abc import Mapping

from heliograph.component.batch import Batch, Context
from heliograph.component.ids import Signal
from heliograph.connectors.elasticapm.aggregator import LATE, MAX_CELL_BYTES, MAX_LATE_SLOTS, Delta, Group
from heliograph.connectors.elasticapm.cells import Cells
from heliograph.connectors.elasticapm.spans import SpanReader
from heliograph.otlp.count import count
from heliograph.otlp.errors import MalformedPayload
from heliograph.otlp.resource import resource_of


class Intake:
    """By one configuration. slot: length of the smallest interval in nanoseconds."""

    def __init__(self, slot: int, metadata_keys: list[str], reader: SpanReader) -> None:
        self._slot = slot
        self._keys = sorted(key.lower() for key in metadata_keys)
        self._reader = reader
        self._delta: Delta = {}
        self._group: Group = ()
        self._present = 0

    def group(self, context: Context) -> Group:
        """The client metadata by which is aggregated apart."""
        if not self._keys:
            return ()
        metadata: Mapping[str, tuple[str, ...]] = context.metadata
        return tuple((key, tuple(metadata[key])) for key in self._keys if metadata.get(key))

    def add(self, batch: Batch, group: Group, now_ns: int, delta: Delta) -> None:
        """Count a batch that came at `now_ns`."""
        present = now_ns - now_ns % self._slot
        self._delta, self._group, self._present = delta, group, present
        cells = self._cells(present)
        reader = self._reader
        for part in batch.parts:
            try:
                resource = resource_of(part)
                if batch.signal is Signal.TRACES:
                    reader.read(part, resource, cells, now_ns - LATE, present - self._slot, self._late)
                else:
                    cells.of(resource).items += count(batch.signal.value, part)
            except (MalformedPayload, IndexError):
                reader.odd += 1

    def _cells(self, slot: int) -> Cells:
        key = (self._group, slot)
        found = self._delta.get(key)
        if found is None:
            found = self._delta[key] = Cells()
        return found

    def _late(self, end_ns: int) -> Cells | None:
        """The cells of a span that ended some time ago; None when there are too many of that kind."""
        slot = end_ns - end_ns % self._slot
        late = [cells for (_, start), cells in self._delta.items() if start < self._present]
        if (self._group, slot) not in self._delta and len(late) >= MAX_LATE_SLOTS:
            return None
        if sum([cells.weight for cells in late]) > MAX_CELL_BYTES:
            return None
        return self._cells(slot)

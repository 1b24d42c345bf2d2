"""Joining and cutting: whatever comes, everything goes out once, within the limits."""

from hypothesis import given
from hypothesis import strategies as st
from opentelemetry.proto.logs.v1.logs_pb2 import LogsData

from heliograph.component.batch import DELIVERED, Context
from heliograph.component.config import Duration
from heliograph.component.ids import Signal
from heliograph.delivery.batch import Batcher, Work, wire_size
from heliograph.delivery.config import BatchConfig, BatchSizer, PartitionConfig
from heliograph.delivery.queue import Entry
from heliograph.otlp.messages import resource_message_class


def part(first: int, count: int) -> bytes:
    message = resource_message_class("logs")()
    message.resource.attributes.add(key="service.name").value.string_value = "svc"
    scope = message.scope_logs.add()
    for number in range(first, first + count):
        scope.log_records.add().body.int_value = number
    return bytes(message.SerializeToString())


def records(work: Work) -> list[int]:
    parse = resource_message_class("logs").FromString
    return [
        record.body.int_value for data in work.parts for scope in parse(data).scope_logs for record in scope.log_records
    ]


@given(
    sizer=st.sampled_from(["items", "bytes"]),
    minimum=st.integers(0, 40),
    more=st.integers(1, 60),
    limited=st.booleans(),
    entries=st.lists(
        st.tuples(st.sampled_from(["a", "b", None]), st.lists(st.integers(0, 30), min_size=1, max_size=4)), max_size=12
    ),
)
def test_everything_goes_out_once_in_order_within_the_limits(
    sizer: BatchSizer, minimum: int, more: int, limited: bool, entries: list[tuple[str | None, list[int]]]
) -> None:
    factor = 10 if sizer == "bytes" else 1
    config = BatchConfig(
        min_size=minimum * factor,
        max_size=(minimum + more) * factor if limited else 0,
        partition=PartitionConfig(metadata_keys=["Tenant"]),
    )
    batcher = Batcher(Signal.LOGS, config, sizer)
    works: list[Work] = []
    made: list[tuple[str | None, Entry]] = []
    expected: dict[str | None, list[int]] = {}
    number = 0
    for tenant, sizes in entries:
        parts = []
        for size in sizes:
            parts.append(part(number, size))
            expected.setdefault(tenant, []).extend(range(number, number + size))
            number += size
        metadata = {} if tenant is None else {"tenant": (tenant,)}
        entry = Entry(tuple(parts), sum(sizes), 1, context=Context(metadata=metadata))
        made.append((tenant, entry))
        ready = batcher.add(entry, parts, 0.0)
        assert all(_size(work, sizer) >= config.min_size or limited for work in ready)
        works += ready
    works += batcher.flush()
    assert batcher.next_due() is None
    went: dict[str | None, list[int]] = {}
    for work in works:
        tenant = work.context.metadata.get("tenant", (None,))[0]
        went.setdefault(tenant, []).extend(records(work))
        assert work.items == len(records(work)) == sum(items for _, items in work.pieces)
        if limited:
            assert _size(work, sizer) <= config.max_size or work.items == 1
        for entry, _ in work.pieces:
            entry.piece_done(DELIVERED)
    assert {tenant: found for tenant, found in went.items() if found} == {
        tenant: numbers for tenant, numbers in expected.items() if numbers
    }
    assert all(entry.pieces == 0 for _, entry in made)


def _size(work: Work, sizer: BatchSizer) -> int:
    return work.items if sizer == "items" else sum(map(wire_size, work.parts))


def test_the_time_is_counted_from_the_first_entry() -> None:
    batcher = Batcher(Signal.LOGS, BatchConfig(flush_timeout=Duration(2)), "items")
    for now in (10.0, 11.0):
        assert batcher.add(Entry((part(0, 1),), 1, 1), [part(0, 1)], now) == []
    assert batcher.next_due() == 12.0
    assert batcher.due(11.9) == []
    assert [work.items for work in batcher.due(12.0)] == [2]


@given(st.integers(0, 40000))
def test_wire_size_is_what_protobuf_writes(length: int) -> None:
    request = resource_message_class("logs")(schema_url="x" * length).SerializeToString()
    assert wire_size(request) == len(
        LogsData(resource_logs=[resource_message_class("logs").FromString(request)]).SerializeToString()
    )

"""The Resource of a part is read and replaced without touching the records; edits are remembered within a bound."""

from opentelemetry.proto.logs.v1.logs_pb2 import ResourceLogs

from heliograph.otlp.attributes import decode_attributes, encode_attributes
from heliograph.otlp.resource import ResourceEditor, resource_of, with_default_schema_url, with_resource


def part(name: str = "a", schema_url: str = "") -> bytes:
    message = ResourceLogs(schema_url=schema_url)
    message.resource.attributes.add(key="service.name").value.string_value = name
    message.scope_logs.add().log_records.add().body.string_value = "x"
    return bytes(message.SerializeToString())


def test_replacing_keeps_everything_else() -> None:
    new = with_resource(part("a", "url"), encode_attributes({"k": 1}))
    message = ResourceLogs.FromString(new)
    assert [pair.key for pair in message.resource.attributes] == ["k"]
    assert message.schema_url == "url"
    assert message.scope_logs[0].log_records[0].body.string_value == "x"
    assert ResourceLogs.FromString(with_resource(new, b"", "other")).schema_url == "other"


def test_a_part_without_a_resource() -> None:
    bare = ResourceLogs()
    bare.scope_logs.add()
    assert resource_of(bytes(bare.SerializeToString())) == b""
    assert decode_attributes(b"") == []


def test_default_schema_url() -> None:
    assert ResourceLogs.FromString(with_default_schema_url(part(), "new")).schema_url == "new"
    assert ResourceLogs.FromString(with_default_schema_url(part(schema_url="old"), "new")).schema_url == "old"


def test_edits_are_remembered_within_the_limit() -> None:
    edited: list[bytes] = []

    def edit(resource: bytes) -> bytes | None:
        edited.append(resource)
        return None if b"keep" in resource else resource + encode_attributes({"added": True})

    editor = ResourceEditor(edit, limit=2)
    assert editor.apply(part("keep")) == part("keep")
    for name in ("a", "a", "keep", "a"):
        editor.apply(part(name))
    assert len(edited) == 2
    assert [key for key, _ in decode_attributes(resource_of(editor.apply(part("a"))))] == ["service.name", "added"]
    editor.apply(part("b"))  # the oldest, "keep", is forgotten
    editor.apply(part("keep"))
    assert len(edited) == 4
    editor.clear()
    editor.apply(part("b"))
    assert len(edited) == 5


def test_a_limit_of_zero_remembers_nothing() -> None:
    edited: list[bytes] = []

    def edit(resource: bytes) -> bytes | None:
        edited.append(resource)
        return encode_attributes({"times": len(edited)})

    editor = ResourceEditor(edit, limit=0)
    for times in (1, 2):
        assert decode_attributes(resource_of(editor.apply(part()))) == [("times", times)]
